"""A symbolic link in the script's folder leads nowhere that the script could not go itself."""


def follows(kit, names):
    """Open what each link points to."""
    return {name: kit.tried(open, name) for name in names}


def test_links_out_of_the_folder_cannot_be_followed(escape, profile):
    folder, outside = escape.folder(0o755), escape.folder(0o755)
    canary = escape.write(outside / "canary", "secret")
    canary.chmod(0o644)
    (folder / "absolute").symlink_to(canary)
    (folder / "relative").symlink_to(f"../{outside.name}/canary")
    (folder / "folder").symlink_to(outside)
    (folder / "accounts").symlink_to("/etc/shadow")
    (folder / "supervisor").symlink_to(f"/proc/{escape.supervisor}/environ")
    names = ["absolute", "relative", "folder/canary", "accounts", "supervisor"]
    report = escape(follows, names, folder=folder, profile=profile).report
    assert set(report.values()) <= {"ENOENT", "EACCES"}


def test_links_within_the_folder_can_be_followed(escape, profile):
    folder = escape.folder(0o755)
    (folder / "link").symlink_to("script.py")
    assert escape(follows, ["link"], folder=folder, profile=profile).report == {"link": "allowed"}
