"""No open descriptor, and no way up from one, leads out of the sandbox."""


def climbs(kit, canary):
    """From every descriptor, the root and the working directory: up as far as it goes, then to the canary."""
    import os

    up = "/".join([".."] * 40)
    starts = {f"fd {number}": number for number in kit.links()}
    for name in ("/", ".", "/proc/self/root", "/proc/self/cwd"):
        starts[name] = os.open(name, os.O_PATH)
    report = {}
    for name, start in starts.items():
        for path in (up + canary, canary.lstrip("/"), "..", "../" + canary.rpartition("/")[2]):
            report[f"{name} {path}"] = kit.tried(os.open, path, os.O_RDONLY, dir_fd=start)
        report[f"{name} chroot"] = kit.tried(os.chroot, f"/proc/self/fd/{start}")
    beyond = os.listdir("/")
    os.chdir("/")
    os.chdir(up)
    return report, sorted(os.listdir(".")) == sorted(beyond)


def test_descriptors_lead_nowhere(escape):
    canary = escape.write(escape.folder() / "canary", "secret")
    report, same = escape(climbs, str(canary)).report
    opened = {name for name, result in report.items() if result == "allowed"}
    # The parent of the root is the root, and the parent of the working directory a part of it.
    assert opened <= {"/ ..", ". ..", "/proc/self/root ..", "/proc/self/cwd .."}
    assert same


def reads_beneath(kit):
    """Open a file of the script's own folder by a descriptor of the folder."""
    import os

    return kit.tried(os.open, "script.py", os.O_RDONLY, dir_fd=os.open(".", os.O_RDONLY))


def test_a_descriptor_of_the_own_folder_works(escape, profile):
    assert escape(reads_beneath, profile=profile).report == "allowed"
