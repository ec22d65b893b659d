"""The embedded registry's file: where it lies, who may read it, what else it may be, and older ones."""

import os
import sqlite3
import stat
import struct
import time
import traceback
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from loader.client.embedded import EmbeddedRegistry, migrations, opening, place, statements
from loader.client.interface import DeploymentRequest
from loader.errors import ClientError

NOBODY = 65534
SECRET = "hunter2-very-secret"
SIDES = ["", "-wal", "-shm"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "registry.db"


@pytest.fixture
def refused(path):
    """The message with which a registry cannot be opened."""

    def refuse(place=path):
        with EmbeddedRegistry(place) as registry, pytest.raises(ClientError) as caught:
            registry.create_flow("hello")
        assert str(caught.value).startswith(f"cannot open the registry {place}: ")
        return str(caught.value)

    return refuse


@pytest.fixture
def umask():
    """A callable that sets this process's umask until the test ends."""
    before = os.umask(0)
    yield os.umask
    os.umask(before)


def fill(path):
    """Make a registry with something of each kind; what it reads back."""
    with EmbeddedRegistry(path) as registry:
        flow_id = registry.create_flow("hello").id
        registry.create_deployment(DeploymentRequest(name="d", flow_id=flow_id, tags=("t",)))
        registry.create_block("b", "S3 Storage", {"key": SECRET})
        return look(registry)


def look(registry):
    return registry.read_flows(), registry.read_deployments(), registry.read_block_by_name("b")


def change(path, *statements):
    """Change a file behind the registry's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_default_place(tmp_path, monkeypatch):
    """A variable's file, else the user's data folder; an empty or relative value counts as none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / ".local/share/flow-loader/registry.db"
    for named, data, wanted in (
        ("", "", home),
        ("", "relative", home),
        ("", str(tmp_path / "data"), tmp_path / "data/flow-loader/registry.db"),
        (str(tmp_path / "own.db"), str(tmp_path / "data"), tmp_path / "own.db"),
    ):
        monkeypatch.setenv("FLOW_LOADER_REGISTRY", named)
        monkeypatch.setenv("XDG_DATA_HOME", data)
        with EmbeddedRegistry() as registry:
            assert registry.address == str(wanted)
            registry.create_flow("hello")
        assert wanted.exists()


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    """A later change of the working directory does not move it."""
    monkeypatch.chdir(tmp_path)
    with EmbeddedRegistry("registry.db") as registry:
        monkeypatch.chdir("/")
        registry.create_flow("hello")
    assert (tmp_path / "registry.db").exists()


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "a b%20c#d?e.db", "ü☃.db"])
def test_a_name_is_a_name(tmp_path, name):
    """SQLite's special names are not special here."""
    fill(tmp_path / name)
    assert [item.name for item in tmp_path.iterdir()] == [name]
    with EmbeddedRegistry(tmp_path / name) as registry:
        assert len(registry.read_flows()) == 1


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_their_owner_s_alone_whatever_the_umask(tmp_path, umask, mask):
    """Also those that SQLite adds, and every folder that is made."""
    path = tmp_path / "a" / "b" / "registry.db"
    umask(mask)
    with EmbeddedRegistry(path) as registry:
        registry.create_block("b", "S3 Storage", {"key": SECRET})
        assert [mode(f"{path}{side}") for side in SIDES] == [0o600] * 3
        assert [mode(path.parent), mode(path.parent.parent)] == [0o700] * 2


def test_the_file_is_closed_to_others_before_anything_is_in_it(tmp_path, umask):
    """What is made first is the closed, empty file."""
    umask(0)
    path = tmp_path / "registry.db"
    place.prepare(str(path))
    assert (mode(path), path.stat().st_size) == (0o600, 0)
    assert not Path(f"{path}-wal").exists()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(path, refused, side, bits):
    """With the command that closes it, which then helps."""
    with EmbeddedRegistry(path) as first:
        first.create_flow("hello")
        place = f"{path}{side}"
        os.chmod(place, bits)
        message = refused()
        assert f"others may read {place}" in message
        assert message.endswith(f"run chmod 600 {place}")
        os.chmod(place, 0o600)
        with EmbeddedRegistry(path) as second:
            assert len(second.read_flows()) == 1


def test_a_folder_in_which_others_may_write_is_refused(tmp_path, refused):
    """They could put another file in its place, or one of SQLite's beside it; a sticky one is no better."""
    folder = tmp_path / "open folder"
    for bits in (0o775, 0o702, 0o1777):
        folder.mkdir()
        folder.chmod(bits)
        assert f"run chmod go-w '{folder}'," in refused(folder / "registry.db")
        assert list(folder.iterdir()) == []
        folder.rmdir()


def test_a_folder_above_in_which_others_may_write_is_refused(tmp_path, refused):
    """They could put another folder in the place of the registry's; not so in a sticky one."""
    above = tmp_path / "above"
    (above / "middle" / "own").mkdir(parents=True, mode=0o700)
    path = above / "middle" / "own" / "registry.db"
    for bits in (0o777, 0o770, 0o702):
        above.chmod(bits)
        assert f"run chmod go-w {above}," in refused(path)
        assert not path.exists()
    above.chmod(0o1777)
    fill(path)
    assert path.exists()


def test_a_file_of_another_user_is_refused(path, refused):
    """Even for root, who could read it."""
    if os.geteuid() == 0:
        fill(path)
        os.chown(path, NOBODY, NOBODY)
    else:
        path = Path("/etc/passwd")
    assert "another user owns" in refused(path)


def test_a_folder_of_another_user_is_refused(tmp_path, run_program):
    """Its owner could exchange the file. Who is not root becomes so in a namespace, where /etc is foreign."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
        folder, before = tmp_path, ()
    else:
        folder, before = "/etc", ("unshare", "--user", "--map-root-user")
    code = """
import sys
from loader.client.embedded import EmbeddedRegistry
from loader.errors import ClientError
try:
    EmbeddedRegistry(sys.argv[1]).create_flow("hello")
except ClientError as error:
    print(error)
"""
    message = run_program(code, f"{folder}/registry.db", before=before)
    assert message.startswith(f"cannot open the registry {folder}/registry.db: another user owns its folder")


def test_a_link_leads_to_the_file(tmp_path):
    """What SQLite adds lies beside the file itself, where it is checked."""
    real = tmp_path / "real" / "registry.db"
    real.parent.mkdir(0o700)
    fill(real)
    (tmp_path / "link.db").symlink_to(real)
    with EmbeddedRegistry(tmp_path / "link.db") as registry:
        registry.create_flow("more")
        assert Path(f"{real}-wal").exists()
        assert registry.address == str(tmp_path / "link.db")
    os.chmod(real, 0o644)
    with (
        EmbeddedRegistry(tmp_path / "link.db") as registry,
        pytest.raises(ClientError, match="others may read"),
    ):
        registry.read_flows()


def test_what_is_no_file_is_refused(tmp_path, path, refused):
    """A folder, a pipe, a place below a file, a place where nothing can be made."""
    assert f"{tmp_path} is a folder; name a file in it" in refused(tmp_path)
    os.mkfifo(path, 0o600)
    assert "is not a regular file" in refused()
    path.unlink()
    path.write_bytes(b"")
    assert f"{path} is not a folder; name a file in a folder" in refused(path / "registry.db")
    assert "name a file in a folder where this user may write" in refused(Path("/proc/none/registry.db"))
    with pytest.raises(ClientError, match="cannot open the registry"):
        EmbeddedRegistry("nul\0byte").create_flow("x")


def test_a_path_may_be_bytes(tmp_path):
    """As it may be wherever files are opened, with names that are no UTF-8."""
    with EmbeddedRegistry(os.fsencode(tmp_path) + b"/\xff.db") as registry:
        registry.create_flow("hello")
        assert registry.address == f"{tmp_path}/\udcff.db"
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff.db"]


@pytest.mark.parametrize(
    "arguments", [{"path": 5}, {"path": []}, {"wait": "5"}, {"wait": float("nan")}, {"wait": -1}]
)
def test_arguments_of_other_types_are_refused_in_words(tmp_path, arguments):
    """Before anything is made."""
    with pytest.raises(ClientError, match=r"^cannot (open a registry at what is of type|wait) .*: give "):
        EmbeddedRegistry(**{"path": tmp_path / "registry.db", **arguments})


@pytest.mark.parametrize("content", [b"hello", b"x" * 100_000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_refused_and_left_alone(path, refused, content):
    """Whatever begins like one, too."""
    path.touch(0o600)
    path.write_bytes(content)
    assert "it is not an SQLite database" in refused()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE theirs (x)"],
        ["PRAGMA application_id = 7"],
        ["PRAGMA user_version = 1"],
        ["CREATE TABLE flows (id, name, created)", "PRAGMA user_version = 2"],
    ],
)
def test_a_file_of_another_program_is_refused_and_left_alone(path, refused, statements):
    """SQLite files say whose they are."""
    path.touch(0o600)
    change(path, *statements)
    content = path.read_bytes()
    assert "it is the SQLite file of another program" in refused()
    assert path.read_bytes() == content


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
LARGE = "printf('%.*c', 400000000, 'x')"
FOREIGN = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON flows BEGIN UPDATE flows SET name = 'theirs'; END",
    "view beside": "CREATE VIEW more AS SELECT 1",
    "endless view": f"DROP TABLE flows; CREATE VIEW flows AS {ENDLESS} SELECT x id, x name, x created FROM c",
    "large view": f"DROP TABLE flows; CREATE VIEW flows AS SELECT {LARGE} id, 1 name, 1 created",
    "other columns": "ALTER TABLE flows ADD COLUMN more TEXT",
    "computed": f"ALTER TABLE flows ADD COLUMN more AS ({LARGE})",
    "index": "CREATE INDEX more ON flows (upper(name))",
    "table": "CREATE TABLE more (x)",
    "missing": "DROP TABLE default_storage",
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_a_registry_with_other_tables_is_refused_and_left_alone(path, refused, statements):
    """Views and triggers are programs: what a file brings along is not run."""
    fill(path)
    change(
        path,
        "PRAGMA foreign_keys = OFF",
        *statements.split("; ") if "BEGIN" not in statements else [statements],
    )
    content, began = path.read_bytes(), time.process_time()
    assert "its tables are not a registry's own" in refused()
    assert time.process_time() - began < 2
    assert path.read_bytes() == content


def test_a_search_without_an_end_is_given_up(path, monkeypatch):
    """A tampered file can make even a plain table endless."""
    fill(path)
    monkeypatch.setattr(statements, "SECONDS", 0.2)
    with EmbeddedRegistry(path) as registry:
        look(registry)
        change(
            path,
            "PRAGMA foreign_keys = OFF",
            "DROP TABLE flows",
            f"CREATE VIEW flows AS {ENDLESS} SELECT x id, 'f' name, '' created FROM c WHERE x < 0",
        )
        with pytest.raises(ClientError, match=r"a search in it took more than .*; put a copy of it back"):
            registry.read_flows()


@pytest.mark.parametrize(("number", "size"), [(5, 300_000), (2000, 1)])
def test_a_search_that_finds_too_much_is_given_up(path, monkeypatch, number, size):
    """Large rows and many rows alike: no answer is longer than memory has room for."""
    fill(path)
    monkeypatch.setattr(statements, "FOUND_CAP", 1 << 20)
    found = f"SELECT x id, printf('%.*c', {size}, 'x') name, '' created FROM c"
    view = f"CREATE VIEW flows AS {ENDLESS[:-1]} LIMIT {number}) {found}"
    with EmbeddedRegistry(path) as registry:
        look(registry)
        change(path, "PRAGMA foreign_keys = OFF", "DROP TABLE flows", view)
        with pytest.raises(ClientError, match=r"a search in it took more than .*; put a copy of it back"):
            registry.read_flows()


def test_pages_that_repeat_others_are_read_once(path):
    """Of what there is one at most, one is taken, however many a tampered file pretends to have."""
    with EmbeddedRegistry(path) as registry:
        block_id = registry.create_block("b", "Local Storage", {"x": "z" * (1 << 16)})
        registry.set_default_storage_block(block_id)
    change(path, "PRAGMA journal_mode = DELETE")
    repeat(path, "default_storage", 60)
    with EmbeddedRegistry(path) as registry:
        tracemalloc.start()
        try:
            assert registry.get_default_storage_block().id == block_id
            assert tracemalloc.get_traced_memory()[1] < 32 << 20
        finally:
            tracemalloc.stop()


def repeat(path, table, times):
    """Give a table of one page two more levels, in each of which the same page stands many times."""
    with closing(sqlite3.connect(path)) as connection:
        asked = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        [[number]] = connection.execute(asked, [table]).fetchall()
    content = bytearray(path.read_bytes())
    [size] = struct.unpack(">H", content[16:18])
    root, last = (number - 1) * size, len(content) // size
    leaf = content[root : root + size]
    leaf[3:5] = struct.pack(">H", times)
    leaf[8 : 8 + 2 * times] = leaf[8:10] * times
    content[root : root + size] = parent(size, times, last + 2)
    content += leaf + parent(size, times, last + 1)
    content[28:32] = struct.pack(">I", last + 2)
    content[92:96] = content[24:28]
    path.write_bytes(content)


def parent(size, times, child):
    """A page of a table whose children are all the same one."""
    page, cell = bytearray(size), size - 8
    page[0:7] = struct.pack(">BHHH", 5, 0, times, cell)
    page[8:12] = struct.pack(">I", child)
    page[12 : 12 + 2 * times] = struct.pack(">H", cell) * times
    page[cell : cell + 5] = struct.pack(">IB", child, 1)
    return page


def test_a_value_that_is_too_large_is_refused(path, monkeypatch):
    """As it is written and as it is read."""
    fill(path)
    monkeypatch.setattr(opening, "ROW_CAP", 1000)
    with EmbeddedRegistry(path) as registry:
        with pytest.raises(ClientError, match=r"something in it is larger than .* MiB"):
            registry.create_block("other", "S3 Storage", {"key": "x" * 2000})
        look(registry)
        change(path, "UPDATE flows SET name = printf('%.*c', 2000, 'x')")
        with pytest.raises(ClientError, match=r"something in it is larger than .* MiB"):
            registry.read_flows()


def test_an_empty_file_becomes_a_registry(path):
    """Another process may have just made it."""
    path.touch(0o600)
    assert fill(path)


def test_a_newer_registry_is_refused_and_left_alone(path, refused):
    """The message says both versions."""
    fill(path)
    change(path, "PRAGMA user_version = 99")
    content = path.read_bytes()
    message = refused()
    assert f"version 99 of its tables where this one knows {len(migrations.MIGRATIONS)}" in message
    assert "install the newer flow-loader" in message
    assert path.read_bytes() == content


def test_a_file_of_the_first_version_is_upgraded(path):
    """What was in it is still there, and what came later works."""
    path.touch(0o600)
    block_id = "0c6b1c1e-53a4-4d0c-9d3e-6a6f0f0d7f51"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate(connection, migrations.MIGRATIONS[:1])
        connection.execute("INSERT INTO flows VALUES (?, 'hello', '2024-01-02T03:04:05+00:00')", [block_id])
        connection.execute("INSERT INTO blocks VALUES (?, 'b', 'Local Storage', '{}', '')", [block_id])
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with EmbeddedRegistry(path) as registry:
        assert [flow.name for flow in registry.read_flows()] == ["hello"]
        registry.set_default_storage_block(registry.read_block_by_name("b").id)
        assert registry.get_default_storage_block().name == "b"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations.MIGRATIONS),)
        upgraded = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    fill(path.with_name("new.db"))
    with closing(sqlite3.connect(path.with_name("new.db"))) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == upgraded


def test_a_migration_that_fails_leaves_the_file_as_it_was(path):
    """Those before it stay done."""
    broken = (*migrations.MIGRATIONS, ("CREATE TABLE new (x)", "INSERT INTO nowhere VALUES (1)"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            migrations.migrate(connection, broken)
        assert not connection.in_transaction
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations.MIGRATIONS),)
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'new'").fetchall()


def test_what_was_closed_is_read_again(path):
    """Nothing is kept in memory alone, and no file of SQLite's is left beside it."""
    before = fill(path)
    assert list(path.parent.iterdir()) == [path]
    with EmbeddedRegistry(path) as registry:
        assert look(registry) == before


@pytest.mark.parametrize(
    "statement",
    [
        f'UPDATE blocks SET config = \'{{"key": "{SECRET}"\'',
        f"UPDATE blocks SET config = '[\"{SECRET}\"]'",
        f"UPDATE blocks SET config = CAST('{SECRET}' AS BLOB)",
        f"UPDATE blocks SET config = CAST(x'ff' || '{SECRET}' AS TEXT)",
        f"UPDATE blocks SET id = '{SECRET}'",
        f'UPDATE deployments SET body = \'{{"unknown": "{SECRET}"}}\'',
        f"UPDATE deployments SET body = '\"{SECRET}\"'",
        f"UPDATE deployments SET created = '{SECRET}'",
        "UPDATE deployments SET body = '{\"parameters\": NaN}'",
        "UPDATE flows SET id = x'00'",
    ],
)
def test_a_damaged_row_is_a_clear_error(path, statement):
    """It names the thing and repeats nothing of what may be secret."""
    fill(path)
    change(path, statement)
    with EmbeddedRegistry(path) as registry, pytest.raises(ClientError) as caught:
        look(registry)
    assert "damaged" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "SET id" in statement or SECRET not in shown
    assert caught.value.__context__ is None


@pytest.mark.slow
@pytest.mark.parametrize("start", [30, 4096, 3 * 4096])
def test_a_damaged_file_is_a_clear_error(path, start):
    """Wherever the damage is; nothing is guessed."""
    with EmbeddedRegistry(path) as registry:
        for index in range(200):
            registry.create_block(f"b-{index}", "S3 Storage", {"key": SECRET * 10})
    content = bytearray(path.read_bytes())
    content[start:] = b"\xa5" * (len(content) - start)
    path.write_bytes(content)
    with EmbeddedRegistry(path) as registry, pytest.raises(ClientError) as caught:
        [registry.read_block_by_name(f"b-{index}") for index in range(200)]
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_error_of_the_database_repeats_no_value(path):
    """A trigger of a file's own raises with the secret in its message; it is not passed on."""
    fill(path)
    with EmbeddedRegistry(path) as registry:
        look(registry)  # a trigger that is there before is refused
        change(
            path,
            f"CREATE TRIGGER spy BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, '{SECRET}'); END",
        )
        with pytest.raises(ClientError, match="SQLite reports") as caught:
            registry.create_block("other", "S3 Storage", {"key": SECRET})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
