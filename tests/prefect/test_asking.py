"""What is asked before a run: where the code is, as the facts of its deployment say."""

from types import SimpleNamespace

import pytest

from loader.errors import RunRefused
from loader.prefect.asking import CHECK, checks_itself, facts, folder, place, question, refuse_change

SET = "prefect.deployments.steps.set_working_directory"
CLONE = {"prefect.deployments.steps.git_clone": {"repository": "https://example.org/flows.git"}}


def deployment(
    entrypoint="flow.py:greet", path=None, pull_steps=None, storage_document_id=None, job_variables=None
):
    return SimpleNamespace(**locals())


def job(own_env=(), working_dir=None, profile="strict", python=None):
    return SimpleNamespace(**{**locals(), "own_env": dict.fromkeys(own_env, "x")})


def run(parameters=None, job_variables=None):
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
    steps = [{CHECK: {"profile": "mine", "python": "/venv", "timeout": 3}}]
    assert checks_itself(deployment(pull_steps=steps), "mine", "/venv")
    assert checks_itself(deployment(pull_steps=[{CHECK: None}]), "strict", None)
    for name, value in (("profile", "development"), ("python", "/bin/sh"), ("python", "{{ python }}")):
        with pytest.raises(RunRefused, match=f"cannot let a deployment say by which {name}"):
            checks_itself(deployment(pull_steps=[{CHECK: {name: value}}]), "strict", None)


@pytest.mark.parametrize(("profile", "python"), [("tight", None), ("strict", "/venv")])
@pytest.mark.parametrize("inputs", [{}, None, {"timeout": 3}])
def test_what_a_step_leaves_out_is_not_what_the_pool_says(profile, python, inputs):
    """The step has values of its own for it, and the remedy is to write it there."""
    with pytest.raises(RunRefused, match=f"write (profile: tight|python: /venv) into its step {CHECK}"):
        checks_itself(deployment(pull_steps=[{CHECK: inputs}]), profile, python)


@pytest.mark.parametrize("path", ["etl", None])
def test_relative_path_is_refused(path):
    """It is never looked for where the worker happens to have been started."""
    with pytest.raises(RunRefused, match="make the path absolute"):
        folder(deployment(path=path), None)


@pytest.mark.parametrize("path", ["~/code", "~", "~root/code", "/srv$STORAGE_BASE_PATH/code"])
def test_path_that_variables_lead_elsewhere_is_refused(path):
    """Those of the run are not the worker's."""
    with pytest.raises(RunRefused, match=r"cannot tell where .*write the path out"):
        folder(deployment(path=path), "/work")
    with pytest.raises(RunRefused, match=r"cannot tell where .*write the path out"):
        folder(deployment(pull_steps=[{SET: {"directory": path}}]), None)


def test_step_that_sets_a_folder_does_nothing_else():
    """What it requires would be imported, or installed, before the code is there."""
    steps = [{SET: {"directory": "/srv", "id": "code", "requires": "helper"}}]
    with pytest.raises(RunRefused, match=r"cannot follow the pull step .*leave requires out"):
        folder(deployment(pull_steps=steps), None)
    del steps[0][SET]["requires"]
    assert folder(deployment(pull_steps=steps), None) == "/srv"


@pytest.mark.parametrize("facts", [{"path": "/srv"}, {"pull_steps": [{CHECK: {}}]}])
@pytest.mark.parametrize(
    "name",
    [
        *(
            "PYTHONPATH",
            "PYTHONHOME",
            "PREFECT_API_URL",
            "prefect_home",
            "PREFECT__STORAGE_BASE_PATH",
            "HOME",
        ),
        *(
            "PATH",
            "LD_PRELOAD",
            "UV_INDEX",
            "PIP_INDEX_URL",
            "VIRTUAL_ENV",
            "XDG_CONFIG_HOME",
            "OPENSSL_CONF",
        ),
    ],
)
def test_variables_that_steer_a_run_are_refused(facts, name):
    """Its code, Prefect or its interpreter would come from where nobody looked."""
    with pytest.raises(RunRefused, match=f"cannot check a run whose job sets {name}: .*leave it out of env"):
        place(deployment(**facts), job(["DB_URL", name]))


def test_other_variables_are_the_jobs_own_affair():
    """What a flow reads when it runs steers nothing before."""
    assert place(deployment(path="/srv"), job(["DB_URL", "HOMEPAGE", "MY_PYTHON"])) == "/srv"


@pytest.mark.parametrize("facts", [{"path": "/srv"}, {"pull_steps": [{SET: {"directory": "/srv"}}]}])
def test_run_starts_in_the_folder_of_its_code_or_in_an_empty_one(facts):
    """Modules of any other would be found before those that were checked, and before Prefect's own."""
    for start in (None, "/srv", "/srv/../srv/"):
        assert place(deployment(**facts), job(working_dir=start)) == "/srv"
    with pytest.raises(RunRefused, match=r"cannot check a run that starts in /else.*leave working_dir empty"):
        place(deployment(**facts), job(working_dir="/else"))
    assert place(deployment(), job(working_dir="/srv")) == "/srv"


def test_run_that_asks_itself_starts_in_an_empty_folder():
    """A module of another folder could pass for the step that asks."""
    asks = deployment(pull_steps=[{CHECK: {"directory": "/srv"}}])
    assert place(asks, job()) is None
    with pytest.raises(RunRefused, match="leave working_dir empty"):
        place(asks, job(working_dir="/srv"))


@pytest.mark.parametrize(
    ("name", "asked", "of"),
    [
        ("parameters", run({"name": "me"}), deployment()),
        ("job_variables", run({}, {"env": {}}), deployment()),
        ("job_variables", run({}), deployment(job_variables={"env": {}})),
        ("entrypoint", run({}), deployment("other.py:greet")),
        ("path", run({}), deployment(path="/srv")),
        ("pull_steps", run({}), deployment(pull_steps=[CLONE])),
        ("storage", run({}), deployment(storage_document_id="b0b")),
    ],
)
def test_run_that_is_not_the_one_that_was_checked_is_refused(name, asked, of):
    """Whatever decides what it does must be as it was; the rest may change."""
    checked = facts(run({}), deployment())
    refuse_change(checked, facts(run({}), deployment()))
    with pytest.raises(RunRefused, match=f"cannot run what was not checked: {name} of the run"):
        refuse_change(checked, facts(asked, of))


@pytest.mark.parametrize(
    ("entrypoint", "location", "function"),
    [
        ("a/flow.py:greet", "{top}/a/flow.py", "greet"),
        ("a/../flow.py:Jobs.greet", "{top}/flow.py", "Jobs.greet"),
        ("a.flow.greet", "{top}/a/flow.py", "greet"),
        ("a.flow:Jobs.greet", "{top}/a/flow.py", "Jobs.greet"),
        ("a.greet", "{top}/a/__init__.py", "greet"),
        ("b.flow.greet", "{top}/b/flow.py", "greet"),
        ("{top}/a/flow.py:greet", "{top}/a/flow.py", "greet"),
    ],
)
def test_entrypoint_leads_to_a_file(tmp_path, entrypoint, location, function):
    """The one that Prefect runs, whatever lies beside it; what may be read is the deployment's folder."""
    for name in ("a/__init__.py", "a/flow.py", "a.py", "a.flow", "a/flow.py:greet", "b/flow.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    asked = question(deployment(entrypoint.format(top=tmp_path)), str(tmp_path), {"name": "you"})
    assert asked == {
        "location": location.format(top=tmp_path),
        "function": function,
        "root": str(tmp_path),
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
            "~/flow.py:greet",
            "a\\flow.py:greet",
            "//srv/flow.py:greet",
        ),
        *("flow.py:x:greet", "linked/../flow.py:greet", "built.greet", "plain.flow.greet", "json.greet"),
        *(".a.greet", "/srv/flow.py:greet", "../flow.py:greet"),
    ],
)
def test_entrypoint_that_leads_nowhere_is_refused(tmp_path, entrypoint):
    """Nor is one followed that leads to two files: of Prefect's copy, or of another system, or built."""
    for name in (
        "~/flow.py",
        "a/flow.py",
        "flow.py",
        "built.abi3.so",
        "built.py",
        "plain.py",
        "plain/flow.py",
        "json.py",
    ):
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
