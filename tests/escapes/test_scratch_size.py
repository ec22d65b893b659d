"""Scratch space is bounded in bytes, in files and in the size of each file."""


def fills(kit, folder):
    """Write until no more is taken, first large files and then empty ones."""
    import os
    import tempfile

    folder = folder or tempfile.gettempdir()
    block, written, count, errors = b"x" * (1 << 20), 0, 0, []
    try:
        for number in range(10):
            with open(f"{folder}/large{number}", "wb", 0) as file:
                for _ in range(40):
                    written += file.write(block)
    except OSError as error:
        errors.append(error.errno)
    try:
        for _ in range(100_000):
            os.close(os.open(f"{folder}/{count}", os.O_CREAT | os.O_WRONLY))
            count += 1
    except OSError as error:
        errors.append(error.errno)
    return written, count, errors


def test_scratch_is_bounded(escape):
    enospc = 28
    written, count, errors = escape(fills, "").report
    assert 30 << 20 < written <= 64 << 20
    assert count < 20_000
    assert errors == [enospc, enospc]


def test_shared_memory_is_bounded(escape):
    written, count, errors = escape(fills, "/dev/shm").report
    assert written <= 16 << 20
    assert count < 20_000
    assert len(errors) == 2


def grows_one(kit):
    """Grow one file as if there were nothing in it."""
    import os
    import signal
    import tempfile

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    descriptor = os.open(os.path.join(tempfile.gettempdir(), "sparse"), os.O_CREAT | os.O_RDWR)
    return kit.tried(os.ftruncate, descriptor, 1 << 40), kit.tried(os.posix_fallocate, descriptor, 0, 1 << 30)


def test_one_file_is_bounded(escape):
    assert escape(grows_one).report == ["EFBIG", "EFBIG"]


def keeps(kit):
    """A file of ten megabytes, in pieces and as a whole."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.writelines(b"x" * (1 << 20) for _ in range(10))
        file.flush()
        return len(open(file.name, "rb").read())


def test_ordinary_files_can_be_kept(escape):
    assert escape(keeps).report == 10 << 20
