"""What is asked before a run: where the code is, as the facts of its deployment say."""

from types import SimpleNamespace

import pytest

from loader.errors import RunRefused
from loader.prefect.asking import CHECK, checks_itself, folder, question

SET = "prefect.deployments.steps.set_working_directory"
CLONE = {"prefect.deployments.steps.git_clone": {"repository": "https://example.org/flows.git"}}


def deployment(entrypoint="flow.py:greet", path=None, pull_steps=None, storage_document_id=None):
    return SimpleNamespace(**locals())


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"path": "/srv/flows/./etl/"}, "/srv/flows/etl"),
        ({"path": "etl"}, "/work/etl"),
        ({}, "/work"),
        ({"pull_steps": [{SET: {"directory": "/srv/flows"}}]}, "/srv/flows"),
        ({"pull_steps": [{SET: {"directory": "a"}}, {}, {SET: {"directory": "b"}}]}, "/work/a/b"),
        ({"pull_steps": [{SET: {"directory": "a"}}], "path": "/srv"}, "/work/a"),
    ],
)
def test_code_is_where_the_run_will_take_it_from(facts, expected):
    """By its path, or by pull steps that only name a folder; both from where runs start."""
    assert folder(deployment(**facts), "/work") == expected


@pytest.mark.parametrize(
    "facts",
    [
        {"pull_steps": [CLONE]},
        {"pull_steps": [{CHECK: {}}, CLONE]},
        {"pull_steps": [{SET: {"directory": "{{ clone.directory }}"}}]},
        {"pull_steps": [{SET: None}]},
        {"pull_steps": [{SET: {"directory": 3}}]},
        {"storage_document_id": "b0b", "path": "/srv"},
    ],
)
def test_code_that_is_yet_to_come_is_refused(facts):
    """It is not looked for where it is not, and the remedy is named."""
    assert not checks_itself(deployment(**facts), "strict", None)
    with pytest.raises(RunRefused, match=f"cannot check .*add {CHECK}"):
        folder(deployment(**facts), "/work")


def test_step_that_asks_must_be_the_last():
    """What comes after it could bring other code."""
    assert checks_itself(deployment(pull_steps=[CLONE, {CHECK: {}}, None]), "strict", None)
    assert not checks_itself(deployment(pull_steps=[{CHECK: {}}, CLONE]), "strict", None)
    assert not checks_itself(deployment(), "strict", None)


def test_step_asks_as_the_pool_says():
    """Its arguments are the deployment's author's, who could open the sandbox by them."""
    for inputs in ({}, None, {"profile": "mine", "python": "/venv", "timeout": 3}):
        assert checks_itself(deployment(pull_steps=[{CHECK: inputs}]), "mine", "/venv")
    for name, value in (("profile", "development"), ("python", "/bin/sh"), ("python", "{{ python }}")):
        with pytest.raises(RunRefused, match=f"cannot let a deployment say by which {name}"):
            checks_itself(deployment(pull_steps=[{CHECK: {name: value}}]), "strict", None)


def test_relative_path_needs_a_working_directory():
    """It is never looked for where the worker happens to have been started."""
    with pytest.raises(RunRefused, match="set working_dir"):
        folder(deployment(path="etl"), None)


@pytest.mark.parametrize(
    ("entrypoint", "location", "function", "root"),
    [
        ("a/flow.py:greet", "{top}/a/flow.py", "greet", "{top}"),
        ("a/../flow.py:Jobs.greet", "{top}/flow.py", "Jobs.greet", "{top}"),
        ("a.flow.greet", "{top}/a/flow.py", "greet", "{top}"),
        ("a.flow:Jobs.greet", "{top}/a/flow.py", "Jobs.greet", "{top}"),
        ("a.greet", "{top}/a/__init__.py", "greet", "{top}"),
        ("b.flow.greet", "{top}/b/flow.py", "greet", "{top}"),
        ("/srv/flow.py:greet", "/srv/flow.py", "greet", None),
    ],
)
def test_entrypoint_leads_to_a_file(tmp_path, entrypoint, location, function, root):
    """The one that Prefect runs, whatever lies beside it; what may be read is the deployment's folder."""
    for name in ("a/__init__.py", "a/flow.py", "a.py", "a.flow", "a/flow.py:greet", "b/flow.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    asked = question(deployment(entrypoint), str(tmp_path), {"name": "you"})
    assert asked == {
        "location": location.format(top=tmp_path),
        "function": function,
        "root": root and root.format(top=tmp_path),
        "parameters": {"name": "you"},
    }


@pytest.mark.parametrize(
    "entrypoint",
    [
        *(
            None,
            "",
            "greet",
            "no.such.greet",
            ":greet",
            "flow.py:",
            "a\\flow.py:greet",
            "//srv/flow.py:greet",
        ),
        *("flow.py:x:greet", "linked/../flow.py:greet", "built.greet", "plain.flow.greet", "json.greet"),
        ".a.greet",
    ],
)
def test_entrypoint_that_leads_nowhere_is_refused(tmp_path, entrypoint):
    """Nor is one followed that leads to two files: of Prefect's copy, of another system, or built."""
    for name in ("a/flow.py", "flow.py", "built.abi3.so", "built.py", "plain.py", "plain/flow.py", "json.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "else/where").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("else/where")
    with pytest.raises(RunRefused, match="cannot check the entrypoint"):
        question(deployment(entrypoint), str(tmp_path), {})


def test_folder_behind_a_link_is_where_it_leads(tmp_path):
    """As for a process that starts there: what lies above is above the folder itself, not above the link."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    assert folder(deployment(path="../c"), tmp_path / "link") == str(tmp_path / "a/c")
