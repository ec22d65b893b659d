"""``/proc`` shows the worker itself and nobody else, and no way round through anybody."""


def looks(kit, supervisor, canary):
    """Reach for the canary and for other processes through /proc."""
    import os

    doors = ["/proc/1", f"/proc/{supervisor}", f"/proc/{os.getppid()}", "/proc/self", "/proc/thread-self"]
    report = {}
    for door in doors:
        for way in ("root", "cwd/../../../../..", "task/../root"):
            report[f"{door}/{way}"] = kit.tried(open, f"{door}/{way}{canary}")
    for door in (f"/proc/{supervisor}", "/proc/1"):
        for name in ("environ", "mem", "maps", "cmdline", "status", "fd", "root", "ns/mnt"):
            report[f"{door}/{name}"] = kit.tried(os.stat, f"{door}/{name}")
    for name in ("kcore", "keys", "kallsyms", "sys/kernel/core_pattern", "sysrq-trigger", "mounts/../1"):
        report[f"/proc/{name}"] = kit.tried(open, f"/proc/{name}")
    return report, [entry for entry in os.listdir("/proc") if entry.isdigit()] == [str(os.getpid())]


def test_proc_leads_to_nobody_else(escape):
    canary = escape.write(escape.folder() / "canary", "secret")
    report, alone = escape(looks, escape.supervisor, str(canary)).report
    assert set(report.values()) <= {"ENOENT", "ENOTDIR", "EACCES"}
    assert alone


def mounts(kit):
    """What is mounted: root within its file system, mount point, file system, options; and the scratch."""
    import tempfile

    lines = [line.split() for line in open("/proc/self/mountinfo")]  # noqa: SIM115
    table = [[line[3], line[4], line[line.index("-") + 1], line[5]] for line in lines]
    return table, tempfile.gettempdir()


def test_no_mount_is_the_hosts_root_and_none_is_writable_but_scratch(escape):
    table, scratch = escape(mounts).report
    assert {kind for root, _, kind, _ in table if root == "/"} <= {"proc", "tmpfs"}
    writable = {point for _, point, kind, options in table if "rw" in options.split(",") and kind != "proc"}
    assert writable == {scratch, "/dev/shm"}
    assert all("nosuid" in options for *_, options in table)


def reads_itself(kit):
    """Read the worker's own files in /proc."""
    import os

    names = ("status", "maps", "stat", f"task/{os.getpid()}/status", "fd/1")
    return [os.path.lexists(f"/proc/self/{name}") for name in names], "VmRSS" in open(
        "/proc/self/status"
    ).read()


def test_a_worker_can_read_about_itself(escape):
    assert escape(reads_itself).report == [[True] * 5, True]
