"""``prefect.yaml``: what its deployments say, every mistake with its line, and what is made of them."""

import datetime as dt
import time
from pathlib import Path

import pytest

from loader import (
    CronSchedule,
    EmbeddedRegistry,
    FlowLoader,
    IntervalSchedule,
    ManifestError,
    RRuleSchedule,
    deployment_specs_from_yaml,
    prefect_yaml,
)
from loader.access import DEFAULT
from loader.batches import judge
from loader.deploying import Deployer
from loader.errors import SpecValidationError
from loader.finding import Finder
from loader.manifests import explain, parse
from loader.packing_prefect import check
from loader.prefect_yaml import STEPS
from loader.scanning import mentions
from loader.sources import origin_of

PROJECT = Path(__file__).parent / "samples" / "project"
FILE = PROJECT / "prefect.yaml"
PLACE = "/srv/project/prefect.yaml"
GOOD = "deployments:\n- name: a\n  entrypoint: f.py:f\n"


def only(text, location=PLACE):
    """The spec of a file that holds one deployment without mistakes."""
    (entry,) = parse(text, location)
    assert entry.problems == (), explain(location, [entry])
    return entry.spec


def refused(text, location=PLACE):
    """The lines of the message for a file with mistakes."""
    return explain(location, parse(text, location)).splitlines()[1:]


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as made:
        yield made


@pytest.fixture
def registry(tmp_path):
    with EmbeddedRegistry(tmp_path / "registry" / "r.db") as opened:
        yield opened


@pytest.fixture
def judged(loader, registry):
    """A callable: the verdicts on a manifest, and the deployer they come from."""

    def judged(path):
        deployer = Deployer(registry, Finder(loader, DEFAULT))
        return judge(str(path), deployer), deployer

    return judged


# --- what is read --------------------------------------------------------------------------------


def test_every_key_of_a_deployment_is_read():
    """By its meaning for ``prefect deploy``; aliases and merge keys stand for what they name."""
    north, small, nightly = deployment_specs_from_yaml(FILE).items()
    spec, place = north
    assert place == {"file": str(FILE), "line": 22}
    assert (spec.name, spec.tags, spec.parameters) == (
        "north",
        ("shop", "nightly"),
        {"region": "north", "limit": 10},
    )
    assert spec.flow_location == str(PROJECT / "pkg/flows/etl.py")
    part = spec.prefect
    assert (part.entrypoint, part.function, part.module) == ("pkg/flows/etl.py:main", "main", None)
    assert (part.version, part.description) == ("1.4", "The orders of the north.")
    assert [item.schedule for item in part.schedules] == [
        CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin"),
        IntervalSchedule.model_validate(
            {"interval": 3600, "timezone": "UTC", "anchor_date": "2024-01-01T00:00:00+00:00"},
            context={"claimed": True},
        ),
    ]
    assert [(item.active, item.slug, item.parameters) for item in part.schedules] == [
        (True, None, {}),
        (False, "hourly", {"limit": 1}),
    ]
    assert (spec.schedule, part.coming) == (part.schedules[0].schedule, (part.schedules[0].schedule,))
    assert (part.work_pool, part.work_queue) == ("kubernetes", "default")
    assert part.job_variables == {"image": "registry.invalid/shop:1"}
    assert (part.concurrency_limit, part.concurrency_options) == (1, {"collision_strategy": "CANCEL_NEW"})
    assert part.enforce_parameter_schema is False
    assert list(part.pull[0]) == ["prefect.deployments.steps.git_clone"]
    assert small[0].prefect.pull == part.pull, "null is not to say that there are none"
    assert (small[0].prefect.job_variables, small[0].prefect.work_pool) == ({}, "kubernetes")
    assert nightly[0].prefect.pull == ()
    assert (nightly[0].prefect.module, nightly[0].prefect.function) == ("pkg.flows.nightly", "nightly")
    assert nightly[0].flow_location == str(PROJECT / "pkg/flows/nightly.py")


@pytest.mark.parametrize(
    ("yaml", "schedule"),
    [
        ("schedules: [{cron: '0 9 * * *'}]", CronSchedule(cron="0 9 * * *")),
        ("schedule: {interval: 60}", IntervalSchedule(interval=60)),
        ("schedule: {interval: PT1H}", IntervalSchedule(interval=3600)),
        ("schedules: [{rrule: FREQ=DAILY, timezone: Asia/Tokyo}]", "Asia/Tokyo"),
        ("""schedules: [{rrule: '{"rrule": "FREQ=DAILY", "timezone": "Asia/Tokyo"}'}]""", "Asia/Tokyo"),
        (
            "schedules: [{cron: '0 9 * * *', timezone: null, day_or: true, active: true,"
            " max_active_runs: null, catchup: false}]",
            CronSchedule(cron="0 9 * * *"),
        ),
        ("schedule: {}", None),
        ("schedules: null", None),
        ("schedules: [{cron: '0 9 * * *', active: false}]", None),
        ("paused: true\n  schedules: [{cron: '0 9 * * *'}]", None),
    ],
)
def test_each_way_of_writing_schedules_is_read(yaml, schedule):
    """That of today, that of the second generation, and what Prefect itself writes down."""
    if isinstance(schedule, str):
        schedule = RRuleSchedule(rrule="FREQ=DAILY", timezone=schedule)
    assert only(f"{GOOD}  {yaml}\n").schedule == schedule


@pytest.mark.parametrize(
    ("entrypoint", "file", "module", "function"),
    [
        ("flows/etl.py:main", "flows/etl.py", None, "main"),
        ("./flows/etl.py:Jobs.main", "flows/etl.py", None, "Jobs.main"),
        ("/srv/project/flows/etl.py:main", "flows/etl.py", None, "main"),
        ("shop.flows.main", "shop/flows.py", "shop.flows", "main"),
        ("shop.flows:Jobs.main", "shop/flows.py", "shop.flows", "Jobs.main"),
    ],
)
def test_each_form_of_entrypoint_leads_below_the_files_folder(entrypoint, file, module, function):
    """A path or a module, with the flow's function behind it."""
    spec = only(f"deployments: [{{name: a, entrypoint: '{entrypoint}'}}]")
    assert spec.flow_location == f"/srv/project/{file}"
    assert (spec.prefect.module, spec.prefect.function) == (module, function)


def test_a_module_is_found_in_the_sources_too(tmp_path):
    """As a package's ``__init__.py`` or a file, in the project's folder first and then in ``src``."""
    for name in ("one.py", "src/one.py", "src/two/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    text = "deployments:\n" + "".join(
        f"- {{name: {name}, entrypoint: {name}:f}}\n" for name in ("one", "two")
    )
    entries = parse(text, str(tmp_path / "prefect.yaml"), origin_of(tmp_path))
    found = [entry.spec.flow_location for entry in entries]
    assert found == [str(tmp_path / "one.py"), str(tmp_path / "src/two/__init__.py")]


def test_a_module_is_looked_for_in_the_very_folder_that_the_manifest_came_from(tmp_path):
    """In none that took its place."""
    project, other = tmp_path / "project", tmp_path / "other"
    project.mkdir()
    (other / "two").mkdir(parents=True)
    (other / "two" / "__init__.py").touch()
    text, place = "deployments:\n- {name: a, entrypoint: two:f}\n", str(project / "prefect.yaml")
    origin = origin_of(project)
    project.rename(tmp_path / "away")
    project.symlink_to(other)
    (found,) = parse(text, place, origin)
    assert found.spec.flow_location == str(project / "two.py")
    (now,) = parse(text, place, origin_of(project))
    assert now.spec.flow_location == str(project / "two" / "__init__.py")


def test_nothing_is_looked_for_here_for_a_manifest_that_lies_elsewhere(tmp_path, monkeypatch):
    """Whoever wrote it would learn what is below the working directory."""
    (tmp_path / "https:" / "h.example" / "two").mkdir(parents=True)
    (tmp_path / "https:" / "h.example" / "two" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    url = "https://h.example/prefect.yaml"
    (found,) = parse("deployments:\n- {name: a, entrypoint: two:f}\n", url, origin_of("https://h.example/"))
    assert found.spec.flow_location == "https://h.example/two.py"


def test_templates_stay_texts():
    """Nothing is filled in; as a schedule's switch a template is taken for true, with a warning."""
    spec = only(
        GOOD.replace("name: a", "name: 'a {{ $STAGE }}'")
        + "  tags: '{{ tags }}'\n  work_pool: {name: '{{ pool }}'}\n"
        + "  schedules: [{cron: '0 9 * * *', active: '{{ prefect.variables.on }}'}]\n"
    )
    assert (spec.name, spec.tags, spec.prefect.work_pool) == ("a {{ $STAGE }}", ("{{ tags }}",), "{{ pool }}")
    assert spec.prefect.schedules[0].active is True
    assert any("not filled in" in warning for warning in spec.prefect.warnings)


def test_what_only_prefect_does_is_a_warning():
    """Steps, triggers and keys that Prefect passes over are said, and stop nothing."""
    spec = only(
        "build: [{some.step: {}}]\n" + GOOD + "  push: {some.step: {}}\n  triggers: [{enabled: true}]\n"
        "  work_queue_name: x\n"
    )
    said = "; ".join(spec.prefect.warnings)
    for word in ("build steps", "push steps", "triggers", "'work_queue_name'", "no work pool"):
        assert word in said


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("deployments: 3", ["1:1: key 'deployments': a list of deployments is due"]),
        ("deployments: [x]", ["1:15: a deployment is due: a mapping of"]),
        (
            "deployments:\n- description: 3\n",
            [
                "2:3: key 'description': text is due",
                "2:3: key 'entrypoint': it must be given",
                "2:3: key 'name': it must be given",
            ],
        ),
        (GOOD.replace("f.py:f", "f.py"), ["3:3: key 'entrypoint': an entrypoint is due, like"]),
        (GOOD.replace("f.py:f", "f:f()"), ["3:3: key 'entrypoint': an entrypoint is due, like"]),
        (GOOD.replace("f.py:f", "'{{ x }}.py:f'"), ["3:3: key 'entrypoint': templates are not filled in"]),
        (GOOD.replace("name: a", "name: a/b"), ["2:3: key 'name': Name 'a/b' contains an invalid character"]),
        (
            GOOD + "  parameter: {}\n",
            ["4:3: key 'parameter': there is no such key; did you mean 'parameters'?"],
        ),
        (GOOD + "  tags: [1, yes]\n", ["4:13: key 'tags[1]': text is due"]),
        (GOOD + "  version: 1.0\n", ["4:3: key 'version': text is due; put it in quotes"]),
        (GOOD + "  schedule: {cron: x}\n", ["4:14: key 'schedule.cron': Invalid cron string"]),
        (
            GOOD
            + "  schedules:\n  - cron: 0 0 * * *\n    interval: 3\n  - cron: 0 0 * * *\n    timezoen: UTC\n",
            [
                "5:5: key 'schedules[0]': a schedule is due: a mapping with one of interval, cron, rrule",
                "8:5: key 'schedules[1].timezoen': there is no such field",
            ],
        ),
        (
            GOOD + "  schedule: {interval: 1}\n  schedules: []\n",
            ["4:3: key 'schedule': there are schedules, too"],
        ),
        (GOOD + "  work_pool: {name: 3}\n", ["4:15: key 'work_pool.name': text is due"]),
        (GOOD + "  pull: [3]\n", ["4:3: key 'pull': a list of steps is due"]),
        ("pull: 3\n" + GOOD, ["1:1: key 'pull': a list of steps is due"]),
        (
            GOOD + "  concurrency_limit: {limit: -1}\n",
            ["4:23: key 'concurrency_limit.limit': it must not be"],
        ),
        (GOOD + "  parameters: {a: .nan}\n", ["4:16: key 'parameters.a': this is no number that JSON has"]),
        (GOOD + "  name: b\n", ["4:3: key 'name': it is there already, on line 2"]),
        (GOOD + "  tags: *none\n", ["4:9: key 'tags': the alias '*none' stands for nothing above it"]),
    ],
)
def test_every_mistake_has_its_place(text, mistakes):
    """File, line and key of each, and nothing twice."""
    found = refused(text)
    assert len(found) == len(mistakes), found
    for line, mistake in zip(sorted(found), sorted(mistakes), strict=True):
        assert line.strip().startswith(f"{PLACE}:{mistake}"), found


def test_a_mistake_takes_nothing_from_the_others():
    """The error holds the specs that have none."""
    entries = parse(
        GOOD + "- {name: b, entrypoint: f.py:g, paused: 3}\n- {name: c, entrypoint: f.py:h}\n", PLACE
    )
    assert [entry.name for entry in entries] == ["a", "b", "c"]
    assert [entry.spec is not None for entry in entries] == [True, False, True]


def test_a_file_of_that_name_without_deployments_holds_none(tmp_path):
    """What ``prefect init`` makes of it before there is a deployment is no mistake; a slip in the key is."""
    assert parse("name: x\npull: null\n", PLACE) == ()
    assert "did you mean 'deployments'?" in refused("deployment: []\n")[0]
    path = tmp_path / "prefect.yaml"
    path.write_text("deployments:\n- {name: a}\n")
    with pytest.raises(ManifestError, match=r"prefect\.yaml:2:3: key 'entrypoint': it must be given"):
        deployment_specs_from_yaml(path)


def test_aliases_come_to_no_more_than_a_file_may_hold():
    """However they multiply: the rest of the text is not read, and time and memory stay small."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    begun = time.monotonic()
    assert "more than 50000 keys and values" in refused("\n".join([*levels, GOOD]))[0]
    texts = f"a: &a {'x' * 60_000}\nb: [{', '.join(['*a'] * 1000)}]\n{GOOD}"
    assert "what the aliases stand for has more than" in refused(texts)[0]
    assert time.monotonic() - begun < 5
    deep = "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 40))
    assert "nest more than 32 deep" in refused("a0: &a0 x\n" + deep + GOOD)[0]


def test_the_files_steps_are_read_once_for_all_its_deployments():
    """Time and memory are in proportion to the text, however many deployments share them."""
    many = f"[{', '.join(['{}'] * 20_000)}]"
    steps = "".join(f"{kind}:\n- step: {{a: {many if kind == 'pull' else 1}}}\n" for kind in STEPS)
    begun = time.monotonic()
    first, *_, last = parse(steps + "deployments:\n" + "- {name: a, entrypoint: a.py:f}\n" * 1_000, PLACE)
    assert first.spec.prefect.pull is last.spec.prefect.pull
    assert time.monotonic() - begun < 5


def test_no_more_deployments_are_read_than_a_manifest_may_hold(monkeypatch):
    """What is beyond costs nothing."""
    read = []
    monkeypatch.setattr(prefect_yaml, "planned", lambda item, _: read.append(item) or ())
    *_, last = parse("deployments:\n" + "- {}\n" * 3_000, PLACE)
    assert "more than 1000 specs" in str(last.problems[0])
    assert len(read) == 1_001


def test_the_names_of_steps_are_short():
    """Each deployment tells them."""
    for steps in ("- {x: }\n" * 3_000, f"- ? {'x' * 5_000}\n  : {{}}\n"):
        assert "more than 4096 characters" in refused(f"pull:\n{steps}{GOOD}")[0]


def test_aliases_stay_refused_in_other_manifests():
    """Only Prefect's own file is known to need them."""
    assert "the anchor '&x' is not allowed" in refused("name: &x a\nflow_location: f.py\n", "/srv/m.yaml")[0]


# --- what is made of it --------------------------------------------------------------------------


def test_its_flows_are_loaded_as_its_workers_will(judged):
    """In the project's folder, with what lies there and in its sources; a module inside of its packages."""
    batch, _ = judged(FILE)
    assert [verdict.problems for verdict in batch.verdicts] == [(), (), ()]
    flows = [verdict.valid.flow for verdict in batch.verdicts]
    assert [flow.name for flow in flows] == ["main", "Small load", "nightly"]
    assert flows[2].parameters["properties"]["others"]["default"] == "south"


def test_the_working_directory_is_the_projects(judged, tmp_path):
    """So that a script finds the files that it names from there."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "settings.txt").write_text("7")
    (tmp_path / "flows" / "a.py").write_text(
        "from prefect import flow\nNUMBER = int(open('settings.txt').read())\n"
        "@flow\ndef f(n: int = NUMBER): ...\n"
    )
    path = tmp_path / "prefect.yaml"
    path.write_text("deployments: [{name: a, entrypoint: 'flows/a.py:f'}]")
    (verdict,) = judged(path)[0].verdicts
    assert verdict.valid.flow.parameters["properties"]["n"]["default"] == 7


def test_an_entrypoint_names_what_holds_the_flow(judged, tmp_path):
    """A global of another name than the function: ``with_options``, or what a function made."""
    (tmp_path / "a.py").write_text(
        "from prefect import flow\n@flow\ndef f(): ...\ng = f.with_options(name='other')\n"
        "def make():\n    @flow(name='made')\n    def inner(): ...\n    return inner\nh = make()\n"
    )
    path = tmp_path / "prefect.yaml"
    items = "".join(f"- {{name: {name}, entrypoint: 'a.py:{name}'}}\n" for name in "fgh")
    path.write_text(f"deployments:\n{items}")
    verdicts = judged(path)[0].verdicts
    assert [verdict.valid.flow.name for verdict in verdicts] == ["f", "other", "made"]
    assert [verdict.valid.flow.variable for verdict in verdicts] == [None, "g", "h"]


def test_what_cannot_be_loaded_is_a_problem_of_its_own_deployment(judged, tmp_path):
    """A function that is not there, a file that is not, and one outside of the project."""
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
    path = tmp_path / "project.yaml"
    entrypoints = ["a.py:f", "a.py:g", "b.py:f", "/etc/c.py:f"]
    path.write_text(
        "deployments:\n"
        + "".join(f"- {{name: d{place}, entrypoint: '{item}'}}\n" for place, item in enumerate(entrypoints))
    )
    good, *bad = judged(path)[0].verdicts
    assert good.valid is not None
    said = [verdict.problems[0] for verdict in bad]
    assert "cannot find the flow 'g' in script" in said[0]
    assert "there is no such file" in said[1]
    assert "it lies outside" in said[2]


def test_check_asks_about_one_deployment(loader, registry):
    """Its parameters are those of its runs; what is recorded of it is compared with what it says."""
    verdict = loader.check(FILE, deployment="north", client=registry)
    assert (verdict.ok, verdict.flow.name, verdict.spec.prefect["version"]) == (True, "main", "1.4")
    verdict = loader.check(FILE, deployment="north", parameters={"limit": "many"}, client=registry)
    assert [reason.kind.value for reason in verdict.reasons] == ["wrong_parameter"]
    assert not loader.check(FILE, deployment="south", client=registry).ok


def test_a_project_is_registered_as_it_is(judged, registry, loader):
    """With all its schedules and how a worker pulls it; nothing is written to storage. Again is an update."""
    batch, deployer = judged(FILE)
    made = [deployer.create(verdict.valid) for verdict in batch.verdicts]
    assert [item.new for item in made] == [True, True, True]
    assert [deployer.create(verdict.valid).new for verdict in batch.verdicts] == [False, False, False]
    record = registry.read_deployment_by_name("main", "north")
    assert (record.entrypoint, record.path, record.version) == ("pkg/flows/etl.py:main", None, "1.4")
    assert [item.slug for item in record.schedules] == [None, "hourly"]
    assert record.schedules[1].schedule["anchor_date"] == "2024-01-01T00:00:00+00:00"
    assert (record.work_pool, record.work_queue, record.flow_data) == ("kubernetes", "default", None)
    assert registry.read_deployment_by_name("nightly", "nightly").pull_steps == ()
    assert loader.check(FILE, deployment="main/north", recorded=record, client=registry).ok


def test_a_project_without_pull_steps_stays_where_it_is(judged, registry, tmp_path):
    """Or lies where images have it, as for ``prefect deploy``."""
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
    path = tmp_path / "prefect.yaml"
    path.write_text(
        "deployments:\n- {name: a, entrypoint: 'a.py:f'}\n"
        "- {name: b, entrypoint: 'a.py:f', work_pool: {job_variables: {image: x}}}\n"
        "- {name: c, entrypoint: 'a.py:f', build: [{some.step: {}}]}\n"
    )
    batch, deployer = judged(path)
    for verdict in batch.verdicts:
        deployer.create(verdict.valid)
    step = "prefect.deployments.steps.set_working_directory"
    found = [registry.read_deployment_by_name("f", name).pull_steps for name in "abc"]
    folders = [steps[0][step]["directory"] for steps in found]
    assert folders == [str(tmp_path), "/opt/prefect", f"/opt/prefect/{tmp_path.name}"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("  version: '{{ build_image.tag }}'\n", "version"),
        ("  work_pool: {job_variables: {image: '{{ build_image.image }}'}}\n", "job_variables"),
        ("  pull: [{a.b: {id: x, folder: '{{ push_code.folder }}'}}]\n", "pull"),
        ("  parameters: {a: {b: ['{{ c }}']}}\n", "parameters"),
        ("  schedules: [{cron: '0 0 * * *', parameters: {a: '{{ c }}'}}]\n", "schedules"),
    ],
)
def test_a_template_that_nobody_would_fill_in_is_not_deployed(judged, tmp_path, more, field):
    """To a server: it would take it for a value."""
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(a=1): ...\n")
    path = tmp_path / "prefect.yaml"
    path.write_text(GOOD.replace("f.py", "a.py") + more)
    (verdict,) = judged(path)[0].verdicts
    with pytest.raises(SpecValidationError, match=f"in {field}.*use `prefect deploy`"):
        check(verdict.valid, verdict.valid.spec.prefect, str(tmp_path))


def test_a_template_that_a_worker_fills_in_is_deployed_as_it_is(judged, tmp_path):
    """Blocks, variables and the run's context, and in pull steps the environment and what steps gave."""
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
    path = tmp_path / "prefect.yaml"
    path.write_text(
        GOOD.replace("f.py", "a.py")
        + "  work_pool: {job_variables: {a: '{{ prefect.blocks.secret.key }}', b: '{{ ctx.flow_run.id }}'}}\n"
        + "  pull:\n  - a.b: {id: code, token: '{{ $TOKEN }}'}\n  - c.d: {folder: '{{ code.folder }}/x'}\n"
    )
    (verdict,) = judged(path)[0].verdicts
    check(verdict.valid, verdict.valid.spec.prefect, str(tmp_path))


def test_a_scan_takes_it_for_a_manifest():
    """By what stands at the beginning of a line, so that other tools' files are left alone."""
    assert mentions(".yaml", FILE.read_bytes())
    assert mentions(".yml", b"deployments:\n- entrypoint: a.py:f\n")
    assert not mentions(".yaml", b"permissions:\n  deployments: write\nentrypoint: x\n")


def test_next_runs_are_those_of_all_its_schedules(judged, tmp_path):
    """The soonest first; one that is not active has none."""
    from loader.planning import Clock, schedules_of

    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
    path = tmp_path / "prefect.yaml"
    path.write_text(
        GOOD.replace("f.py", "a.py")
        + "  schedules: [{cron: '0 0 * * *'}, {cron: '0 12 * * *'}, {interval: 60, active: false}]\n"
    )
    (verdict,) = judged(path)[0].verdicts
    moments = Clock().upcoming(schedules_of(verdict))
    first, second, third = map(dt.datetime.fromisoformat, moments)
    assert {first.hour, second.hour} == {0, 12}
    assert third - first == dt.timedelta(days=1)
