"""Two scripts that run at the same time share nothing: no file, no memory, no sight of one another."""

import time


def leaves_traces(kit, name):
    """Put ``name`` wherever something shared could be, and stay until there is a file beside it."""
    import os
    import tempfile
    import time

    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        kit.tried(lambda folder=folder: os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY)))
    kit.called("shmget", 0x666, 4096, 0o1666)
    kit.called("mq_open", name.encode(), os.O_CREAT | os.O_RDWR, 0o666, 0)
    while not os.path.exists("over"):
        time.sleep(0.02)
    return "left"


def looks_for_traces(kit, name, neighbour):
    """Where the other one's traces would be."""
    import os
    import tempfile

    places = [tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", os.path.dirname(neighbour), neighbour]
    report = {place: os.path.exists(f"{place}/{name}") for place in places}
    report["script"] = os.path.exists(f"{neighbour}/script.py")
    report["memory"] = kit.called("shmget", 0x666, 4096, 0) == "allowed"
    report["queue"] = kit.called("mq_open", name.encode(), os.O_RDWR, 0, 0) == "allowed"
    report["processes"] = [entry for entry in os.listdir("/proc") if entry.isdigit()] != [str(os.getpid())]
    return report


def test_neighbours_share_nothing(escape):
    folder, name = escape.folder(), "trace"
    neighbour = escape.start(leaves_traces, name, timeout=60, folder=folder)
    time.sleep(0.2)
    looking = escape.start(looks_for_traces, name, str(folder))
    assert set(looking().report.values()) == {False}
    (folder / "over").touch()
    assert neighbour().report == "left"


def finds_its_own(kit, name):
    """The same traces, looked for by who left them."""
    import os
    import tempfile

    trace = os.path.join(tempfile.gettempdir(), name)
    os.close(os.open(trace, os.O_CREAT | os.O_WRONLY))
    return os.path.exists(trace), os.path.exists("script.py")


def test_a_script_finds_what_it_left_itself(escape):
    assert escape(finds_its_own, "trace").report == [True, True]
