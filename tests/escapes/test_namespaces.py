"""No namespace can be made or entered, nothing can be mounted, and the root stays where it is."""


def rebuilds(kit):
    """Every call by which a process changes what it sees."""
    import os

    flags = {
        "user": 0x10000000,
        "mount": 0x20000,
        "pid": 0x20000000,
        "net": 0x40000000,
        "time": 0x80,
        "files": 0x400,
    }
    report = {f"unshare {name}": kit.called("unshare", flag) for name, flag in flags.items()}
    report["unshare with high bits"] = kit.called("unshare", flags["user"] | 1 << 32)
    for descriptor in kit.links():
        report[f"setns {descriptor}"] = kit.called("setns", descriptor, 0)
    for name in ("user", "mnt", "pid", "net"):
        way = f"/proc/self/ns/{name}"
        entered = kit.called("setns", os.open(way, os.O_RDONLY), 0) if os.access(way, os.R_OK) else "EPERM"
        report[f"setns {name}"] = entered
    mounts = {
        "mount": (b"none", b"/tmp", b"tmpfs", 0, 0),
        "mount_setattr": (-100, b"/", 0, b"\0" * 32, 32),
        "move_mount": (-100, b"/tmp", -100, b"/dev/shm", 0),
        "open_tree": (-100, b"/", 1),
        "fsopen": (b"tmpfs", 0),
        "fsmount": (0, 0, 0),
        "umount2": (b"/proc", 2),
        "pivot_root": (b"/", b"/tmp"),
        "chroot": (b"/tmp",),
        "swapon": (b"/tmp", 0),
        "name_to_handle_at": (-100, b"/", 0, 0, 0),
        "open_by_handle_at": (3, 0, 0),
    }
    report.update({name: kit.called(name, *arguments) for name, arguments in mounts.items()})
    for name in ("uid_map", "gid_map", "setgroups"):
        report[name] = kit.tried(os.open, f"/proc/self/{name}", os.O_WRONLY)
    return report


def test_nothing_a_process_sees_can_be_changed(escape, profile):
    report = escape(rebuilds, profile=profile).report
    assert {
        name: result for name, result in report.items() if result not in ("EPERM", "EACCES", "EROFS")
    } == {}


def asks(kit):
    """The same way of calling, for calls that are allowed."""
    import os

    os.chdir("/tmp")
    return [kit.raw(kit.number("getpid")) == os.getpid(), kit.called("getpid"), os.getcwd()]


def test_harmless_calls_work(escape):
    assert escape(asks).report == [True, "allowed", "/tmp"]
