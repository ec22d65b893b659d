"""No program can be run that was brought along: not from memory, not from scratch, not as a library."""


def runs_own_program(kit):
    """Copy a shared library, which is a program too, to where it could be run from."""
    import ctypes
    import mmap
    import os
    import shutil
    import tempfile

    report = {
        "memfd": kit.tried(os.memfd_create, "program"),
        "memfd call": kit.called("memfd_create", b"program", 0),
        "secret memory": kit.called("memfd_secret", 0),
    }
    for folder in (tempfile.gettempdir(), "/dev/shm"):
        copy = os.path.join(folder, "program")
        shutil.copy(kit.library(), copy)
        os.chmod(copy, 0o755)
        report[f"exec from {folder}"] = kit.tried(os.execv, copy, [copy])
        report[f"load from {folder}"] = kit.tried(ctypes.CDLL, copy)
        with open(copy, "rb") as file:
            mode = {"flags": mmap.MAP_PRIVATE, "prot": mmap.PROT_READ | mmap.PROT_EXEC}
            report[f"map from {folder}"] = kit.tried(mmap.mmap, file.fileno(), 4096, **mode)
        os.unlink(copy)
    return report


def test_programs_that_were_brought_along_do_not_run(escape):
    report = escape(runs_own_program).report
    assert set(report.values()) <= {"EPERM", "EACCES", "OSError"}


def uses_libraries(kit):
    """Libraries of the interpreter and the system load, and memory can be mapped."""
    import ctypes
    import mmap

    mapped = mmap.mmap(-1, 1 << 20)
    mapped[:4] = b"text"
    return [
        kit.tried(ctypes.CDLL, kit.library()),
        mapped[:4].decode(),
        __import__("sqlite3").sqlite_version_info[0],
    ]


def test_installed_libraries_and_plain_memory_work(escape, profile):
    assert escape(uses_libraries, profile=profile).report == ["allowed", "text", 3]
