"""The seed API, importable with no Prefect installed."""

import sys

import pytest

HEAD = """
from prefect import flow, task, Flow, Task, get_run_logger
from prefect.deployments import DeploymentSpec
from prefect.orion.schemas.schedules import IntervalSchedule, CronSchedule, RRuleSchedule
from prefect.flow_runners import (
    DockerFlowRunner, FlowRunner, FlowRunnerSettings, KubernetesFlowRunner, SubprocessFlowRunner,
    UniversalFlowRunner,
)
from prefect.blocks.storage import (
    AzureBlobStorageBlock, FileStorageBlock, GoogleCloudStorageBlock, KVServerStorageBlock, LocalStorageBlock,
    S3StorageBlock, TempStorageBlock,
)
from prefect.task_runners import ConcurrentTaskRunner, DaskTaskRunner, RayTaskRunner, SequentialTaskRunner
from prefect.tasks import task_input_hash
from prefect.context import tags
from prefect.orion.schemas.states import Completed, Failed, State
import datetime
@flow
def f(): ...
"""


HELPER = """
from prefect.deployments import DeploymentSpec
DeploymentSpec(name="h", flow_location="x.py")
"""


def properties(run, signature, before="", **options):
    """The schema of a function's parameters."""
    ran = run(f"{HEAD}\nfrom typing import *\n{before}\n@flow\ndef g({signature}): ...\n", **options)
    return ran.flows[1]["parameters"], ran


def test_flow_has_every_fact(run):
    """Name, version, description, lines and options are told; what is not given has its default."""
    ran = run(
        '''
        from prefect import flow
        from prefect.task_runners import SequentialTaskRunner

        @flow
        def say_hello():
            """
            Says hello.

              Indented.
            """
            return 1

        @flow(name="Other", version="7", description="d", timeout_seconds=5, retries=2, tags=["b", "a"],
              task_runner=SequentialTaskRunner)
        async def other(): ...

        short = flow(lambda: 1, timeout_seconds=0)
        renamed = say_hello.with_options(name="new", timeout_seconds=1)
        '''
    )
    hello, other, short, renamed = ran.flows
    file = str(run.folder / "flow.py")
    assert hello == {
        **hello,
        "name": "say-hello",
        "function": "say_hello",
        "entrypoint": "flow.py:say_hello",
        "description": "Says hello.\n\n  Indented.",
        "file": file,
        "line": 5,
        "end_line": 12,
        "is_async": False,
        "retries": None,
        "timeout_seconds": None,
        "task_runner": "ConcurrentTaskRunner",
        "tags": [],
    }
    assert len(hello["version"]) == 32
    assert (other["name"], other["version"], other["description"]) == ("Other", "7", "d")
    assert (other["is_async"], other["retries"], other["tags"]) == (True, 2, ["a", "b"])
    assert (other["timeout_seconds"], other["task_runner"]) == (5.0, "SequentialTaskRunner")
    assert (short["name"], short["timeout_seconds"]) == ("<lambda>", None)
    assert (renamed["name"], renamed["timeout_seconds"], renamed["line"]) == ("new", 1.0, 5)


@pytest.mark.sampled
@pytest.mark.parametrize("character", ["/", "%", "&", ">", "<"])
def test_names_may_not_hold_some_characters(run, character):
    """The message is the seed's."""
    ran = run(f"from prefect import flow\nflow(lambda: 1, name='a{character}b')\n", fails=True)
    assert ran.error["type"] == "prefect.exceptions.InvalidNameError"
    assert ran.error["message"] == (
        f"Name 'a{character}b' contains an invalid character. "
        "Must not contain any of: ['/', '%', '&', '>', '<']."
    )


def test_calling_flows_and_tasks_does_not_run_them(run):
    """A call gives None, or something to await, and leaves a notice of its line."""
    ran = run(
        """
        import asyncio
        from prefect import flow, task

        @task
        def t(): raise SystemExit

        @flow
        def sync(): raise SystemExit

        @flow
        async def other(): raise SystemExit

        assert sync(1, a=2) is None and t() is None and t.submit(1) is None and t.map([1]) is None
        async def main():
            assert await other() is None
        asyncio.run(main())
        assert flow(lambda x: x + 1).fn(1) == 2
        """
    )
    assert [notice["line"] for notice in ran.notices("flow_called")] == [14, 14, 16]
    assert "'sync'" in ran.notices("flow_called")[0]["message"]


def test_run_logger_print_and_logging_work(run):
    """What a script logs from INFO up goes to standard error, what it prints to standard output."""
    ran = run(
        HEAD
        + "get_run_logger().info('one')\n"
        + "get_run_logger().debug('two')\n"
        + "print('three')\n"
        + "import logging\n"
        + "logging.warning('four')\n"
    )
    assert "prefect.flow_runs - one" in ran.stderr
    assert "two" not in ran.stderr
    assert "four" in ran.stderr
    assert ran.stdout == "three\n"


def test_specs_are_found_from_imported_modules_threads_and_subclasses(run):
    """Each has the file and line of the call that made it."""
    ran = run(
        """
        import threading
        from prefect import flow
        from prefect.deployments import DeploymentSpec
        from prefect import deployments
        import helper

        @flow
        def f(): ...

        class Mine(DeploymentSpec):
            def __init__(self, **values):
                super().__init__(flow=f, **values)

        Mine(name="mine")
        threads = [threading.Thread(target=lambda: DeploymentSpec(flow=f)) for _ in range(3)]
        for thread in threads:
            thread.start()
        deployments.DeploymentSpec(
            flow=f,
        )
        """,
        {"helper.py": HELPER},
    )
    told = [(spec["file"].rpartition("/")[2], spec["line"]) for spec in ran.specs]
    assert told == [
        ("flow.py", 13),
        ("flow.py", 16),
        ("flow.py", 16),
        ("flow.py", 16),
        ("flow.py", 19),
        ("helper.py", 3),
    ]
    helper = ran.specs[-1]
    assert (helper["flow_name"], helper["flow_location"]) == (None, str(run.folder / "x.py"))


def test_spec_has_every_field(run):
    """A spec is told as it was given, completed from its flow."""
    ran = run(
        HEAD
        + "DeploymentSpec(flow=f, name='d', parameters={'a': datetime.date(2020, 1, 1)}, tags=['x'],\n"
        + "    schedule=CronSchedule(cron='0 0 * * *', timezone='UTC'),\n"
        + "    flow_runner=DockerFlowRunner(image='i', volumes=['/a:/b'], env={'K': 1}),\n"
        + "    flow_storage=FileStorageBlock(base_path='s3://user:secret@bucket/x', "
        + "options={'key': 'secret', 'n': 1}))\n"
    )
    spec = ran.specs[0]
    assert spec == {
        **spec,
        "name": "d",
        "flow_name": "f",
        "flow_location": str(run.folder / "flow.py"),
        "parameters": {"a": "2020-01-01"},
        "tags": ["x"],
        "schedule": {"cron": "0 0 * * *", "timezone": "UTC", "day_or": True},
        "flow_storage": {
            "type": "File Storage",
            "config": {
                "base_path": "s3://**********@bucket/x/",
                "key_type": "hash",
                "options": {"key": "**********", "n": 1},
            },
        },
    }
    runner = spec["flow_runner"]
    assert runner["type"] == "docker"
    assert (runner["config"]["image"], runner["config"]["env"]) == ("i", {"K": "1"})
    assert "secret" not in str(ran.reply) + str(ran.found)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("flow=f, nme='x'", "nme: there is no such field. Did you mean 'name'?"),
        ("flow=lambda: 1", "flow: a flow is due"),
        ("flow=f, name='a/b'", "name: Name 'a/b' contains an invalid character."),
        ("flow=f, tags='abc'", "tags: a list of strings is due, not 'abc'"),
        ("flow=f, parameters=[1]", "parameters: a dict is due"),
        ("flow=f, schedule=3600", "schedule: a schedule with interval, cron, rrule is due, not 3600"),
        ("flow=f, schedule={'interval': 0}", "The interval must be positive"),
        ("flow=f, flow_runner='dockr'", "flow_runner: a flow runner or its settings are due"),
        ("flow=f, flow_storage='x'", "flow_storage: "),
    ],
)
def test_spec_refuses_what_it_cannot_be_made_of(run, arguments, problem):
    """One clear error, naming the field, at the line of the call."""
    ran = run(HEAD + f"DeploymentSpec({arguments})\n", fails=True)
    assert ran.error["message"].startswith("cannot make ")
    assert problem in ran.error["message"]
    assert ran.error["frames"][-1]["source"] == f"DeploymentSpec({arguments})"


def test_contradictions_with_the_flow_are_noted(run):
    """Only the script knows both sides; the seed's words tell of it."""
    ran = run(HEAD + "DeploymentSpec(flow=f, flow_name='g')\nDeploymentSpec(flow=f, flow_location='/a.py')\n")
    first, second = (notice["message"] for notice in ran.notices("spec"))
    assert first == "`flow.name` and `flow_name` must match. Got 'f' and 'g'."
    flow = run.folder / "flow.py"
    assert second == f"The given flow location '/a.py' does not match the path of the given flow: '{flow}'."


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "IntervalSchedule(interval=60)",
            {"interval": 60.0, "timezone": None, "anchor_date": "2020-01-01T00:00:00+00:00"},
        ),
        ("IntervalSchedule(interval='1:00:00')", {"interval": 3600.0}),
        ("IntervalSchedule(interval='2 1:00:00')", {"interval": 176400.0}),
        ("IntervalSchedule(interval='P1DT1H')", {"interval": 90000.0}),
        ("IntervalSchedule(interval='90.5')", {"interval": 90.5}),
        (
            "IntervalSchedule(interval=60, timezone='America/New_York')",
            {"anchor_date": "2020-01-01T00:00:00-05:00"},
        ),
        (
            "IntervalSchedule(interval=60, anchor_date='2021-01-01T00:00:00Z')",
            {"anchor_date": "2021-01-01T00:00:00+00:00"},
        ),
        ("CronSchedule(cron='@daily')", {"cron": "@daily", "timezone": None, "day_or": True}),
        ("CronSchedule(cron='*/5 0-6,12 1,L jan-mar mon#1,fri')", {}),
        (
            "RRuleSchedule(rrule='FREQ=DAILY;INTERVAL=2')",
            {"rrule": "FREQ=DAILY;INTERVAL=2", "timezone": "UTC"},
        ),
        ("RRuleSchedule(rrule='DTSTART:20200101T000000\\nRRULE:FREQ=WEEKLY;BYDAY=MO,-1FR')", {}),
    ],
)
def test_schedules_are_told_in_full(run, given, told):
    """A schedule's fields and their defaults."""
    schedule = run(f"{HEAD}DeploymentSpec(flow=f, schedule={given})\n").specs[0]["schedule"]
    assert {name: schedule[name] for name in told} == told


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("IntervalSchedule(interval=-1)", "The interval must be positive"),
        ("IntervalSchedule()", "interval: field required"),
        ("IntervalSchedule(interval='soon')", "a length of time is due"),
        ("IntervalSchedule(interval='9999999999 1:00')", "a length of time is due"),
        ("IntervalSchedule(interval=1, timezone='Mars')", 'Invalid timezone: "Mars"'),
        ("IntervalSchedule(interval=1, timezone='../etc/passwd')", "Invalid timezone"),
        (
            "IntervalSchedule(interval=1, timezone='UTC', anchor_date=datetime.datetime.now())",
            "Specify an anchor date or a timezone, but not both.",
        ),
        ("CronSchedule(cron='x')", 'Invalid cron string: "x"'),
        ("CronSchedule(cron='61 * * * *')", "Invalid cron string"),
        ("CronSchedule(cron='* * * *')", "Invalid cron string"),
        ("CronSchedule(cron='*/0 * * * *')", "Invalid cron string"),
        ("CronSchedule(cron='* * * * *', filters=1)", "filters: there is no such field"),
        ("RRuleSchedule(rrule='every day')", "Invalid rrule string"),
        ("RRuleSchedule(rrule='FREQ=OFTEN')", "Invalid rrule string"),
        ("RRuleSchedule(rrule='COUNT=3')", "It says no FREQ"),
        (
            "SubprocessFlowRunner(condaenv='a', virtualenv='b')",
            "You cannot provide both a conda and virtualenv to use.",
        ),
        (
            "DockerFlowRunner(volumes=['a'])",
            "Invalid volume specification. Expected format 'path:container_path', but got 'a'",
        ),
        ("DockerFlowRunner(imag='a')", "Did you mean 'image'?"),
        ("KubernetesFlowRunner(restart_policy='Always')", "restart_policy: 'Always' is none of"),
        ("UniversalFlowRunner(typename='docker')", "typename"),
        ("S3StorageBlock()", "bucket: field required"),
        (
            "FileStorageBlock(base_path='a', key_type='x')",
            "key_type: 'x' is none of 'hash', 'uuid', 'timestamp'",
        ),
    ],
)
def test_wrong_fields_are_refused_by_name(run, given, problem):
    """Whatever a spec is made of is checked when it is made."""
    ran = run(HEAD + given + "\n", fails=True)
    assert problem in ran.error["message"]
    assert ran.error["type"] == "prefect.exceptions.ValidationError"


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("FlowRunner(typename='x')", {"type": None, "config": {}}),
        ("UniversalFlowRunner()", {"type": "universal", "config": {"env": {}}}),
        ("FlowRunnerSettings(type='docker', config={'a': 1})", {"type": "docker", "config": {"a": 1}}),
        ("{'type': 'docker'}", {"type": "docker", "config": {}}),
    ],
)
def test_flow_runners_are_told_as_settings(run, given, told):
    """A runner is its type's name and its configuration; the base class has no type."""
    assert run(f"{HEAD}DeploymentSpec(flow=f, flow_runner={given})\n").specs[0]["flow_runner"] == told


def test_secrets_do_not_leave(run):
    """Neither in what is told nor in a repr."""
    ran = run(
        HEAD
        + "block = S3StorageBlock(bucket='b', aws_secret_access_key='hunter2')\nprint(block)\n"
        + "DeploymentSpec(flow=f, flow_storage=block)\n"
        + "block = AzureBlobStorageBlock(container='c', connection_string='hunter2')\n"
        + "DeploymentSpec(flow=f, flow_storage=block)\n"
        + "block = GoogleCloudStorageBlock(bucket='c', service_account_info={'k': 'hunter2'})\n"
        + "DeploymentSpec(flow=f, flow_storage=block)\n"
        + "DeploymentSpec(flow=f, flow_storage='00000000-0000-0000-0000-000000000001')\n"
    )
    assert "hunter2" not in str(ran)
    told = [spec["flow_storage"] for spec in ran.specs]
    assert told[0]["config"]["aws_secret_access_key"] == "**********"
    assert told[0]["config"]["aws_access_key_id"] is None
    assert told[3] == "00000000-0000-0000-0000-000000000001"


def test_details_are_told_when_they_are_asked_for(run):
    """What deploying needs: the flow as it is at the end, the storage whole, and what cannot be told."""
    script = (
        HEAD
        + "block = S3StorageBlock(bucket='b', aws_secret_access_key='hunter2')\n"
        + "DeploymentSpec(flow=f, flow_storage=block, parameters={'fine': 1, 'odd': object()})\n"
        + "DeploymentSpec(flow_location='other.py', flow_name='g')\n"
        + "DeploymentSpec(flow=f, flow_name='g')\n"
    )
    assert run(script).reply["details"] == []
    first, second, third = run(script, details=True).reply["details"]
    assert first["flow"]["name"] == "f"
    assert first["flow_storage"]["config"]["aws_secret_access_key"] == "hunter2"
    assert [problem.partition(":")[0] for problem in first["problems"]] == [
        "the parameter 'odd' has no JSON form"
    ]
    assert second == {"flow": None, "flow_storage": None, "problems": []}
    assert third["problems"] == ["`flow.name` and `flow_name` must match. Got 'f' and 'g'."]


def test_modules_hold_the_api_and_nothing_of_ours(run):
    """Classes belong to their public modules; what the dialect does not have is not there."""
    run(
        HEAD
        + "import prefect, pickle, importlib.util\n"
        + "assert prefect.flows.Flow is Flow and Flow.__module__ == 'prefect.flows'\n"
        + "assert pickle.loads(pickle.dumps(IntervalSchedule)) is IntervalSchedule\n"
        + "assert importlib.util.find_spec('prefect.flows') is not None\n"
        + "assert 'worker' not in repr(vars(prefect)) and not hasattr(prefect.flows, 'checks')\n"
        + "prefect.flows.Flow = prefect.Flow = None\n"
        + "@flow\ndef later(): ...\n"
        + "try:\n    import prefect.cli\nexcept ModuleNotFoundError: pass\nelse: raise AssertionError\n"
    )


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("int", {"type": "integer"}),
        ("Optional[str]", {"type": "string"}),
        ("Union[int, str, None]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("List[List[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("list", {"type": "array", "items": {}}),
        ("dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("Dict[str, Any]", {"type": "object"}),
        (
            "Tuple[int, str]",
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": [{"type": "integer"}, {"type": "string"}],
            },
        ),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("Set[int]", {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        ("Literal['a', 'b']", {"enum": ["a", "b"], "type": "string"}),
        ("Annotated[int, 'x']", {"type": "integer"}),
        ("datetime.datetime", {"type": "string", "format": "date-time"}),
        ("datetime.timedelta", {"type": "number", "format": "time-delta"}),
        ("bytes", {"type": "string", "format": "binary"}),
        ("'int'", {"type": "integer"}),
        ("Any", {}),
        ("NewType('N', int)", {"type": "integer"}),
        ("TypeVar('T', bound=int)", {"type": "integer"}),
        ("'Later'", {"type": "object"}),
        ("List['Later']", {"type": "array", "items": {"type": "object"}}),
        pytest.param(
            "int | None",
            {"type": "integer"},
            marks=pytest.mark.skipif(sys.version_info < (3, 10), reason="no such syntax"),
        ),
    ],
)
def test_annotations_become_schemas_as_pydantic_1_made_them(run, annotation, schema):
    """One property a parameter, with its title; without a default it is required."""
    told = run(f"{HEAD}from typing import *\n@flow\ndef g(x: {annotation}): ...\nclass Later(dict): ...\n")
    assert told.flows[1]["parameters"] == {
        "title": "Parameters",
        "type": "object",
        "properties": {"x": {"title": "x", **schema}},
        "required": ["x"],
    }
    assert told.reply["notices"] == []


def test_defaults_are_told_and_none_is_not(run):
    """A parameter with a default is not required."""
    told, _ = properties(
        run, "a=1, b='x', c=None, d=datetime.timedelta(hours=1), e=(1, 2), *args, f={'k': 0.5}, **kwargs"
    )
    assert told == {
        "title": "Parameters",
        "type": "object",
        "properties": {
            "a": {"title": "a", "default": 1},
            "b": {"title": "b", "default": "x"},
            "c": {"title": "c"},
            "d": {"title": "d", "default": 3600.0},
            "e": {"title": "e", "default": [1, 2]},
            "args": {"title": "args", "type": "array", "items": {}},
            "f": {"title": "f", "default": {"k": 0.5}},
            "kwargs": {"title": "kwargs", "type": "object"},
        },
    }


def test_classes_become_definitions(run):
    """Enums, dataclasses, typed dicts and pydantic models, also through postponed annotations."""
    ran = run(
        """
        from __future__ import annotations
        import dataclasses, enum, typing
        import pydantic
        from prefect import flow

        class Colour(enum.Enum):
            RED = "red"

        @dataclasses.dataclass
        class Point:
            x_axis: int
            next: typing.Optional[Point] = None
            names: typing.List[str] = dataclasses.field(default_factory=list)

        class Table(typing.TypedDict, total=False):
            a: int

        @flow
        def f(c: Colour = Colour.RED, p: Point = None, t: Table = None, m: Model = None): ...

        class Model(pydantic.BaseModel):
            point: Point
        """
    )
    told = ran.flows[0]["parameters"]
    assert told["properties"]["c"] == {
        "title": "c",
        "default": "red",
        "allOf": [{"$ref": "#/definitions/Colour"}],
    }
    assert told["definitions"]["Colour"]["enum"] == ["red"]
    assert told["definitions"]["Point"] == {
        "title": "Point",
        "type": "object",
        "properties": {
            "x_axis": {"title": "X Axis", "type": "integer"},
            "next": {"$ref": "#/definitions/Point"},
            "names": {"title": "Names", "type": "array", "items": {"type": "string"}},
        },
        "required": ["x_axis"],
    }
    assert told["definitions"]["Table"] == {
        "title": "Table",
        "type": "object",
        "properties": {"a": {"title": "A", "type": "integer"}},
    }
    assert told["definitions"]["Model"]["properties"]["point"] == {"$ref": "#/definitions/Point"}
    assert ran.reply["notices"] == []


def test_parameter_without_a_json_form_leaves_a_notice(run):
    """The rest of the schema stands."""
    told, ran = properties(
        run,
        "a: int, b: Thing, c: 'Missing', d: int = Thing(), e: Callable = None",
        "class Thing:\n    def __deepcopy__(self, memo): raise TypeError\n",
    )
    assert told["properties"] == {
        "a": {"title": "a", "type": "integer"},
        "b": {"title": "b"},
        "c": {"title": "c"},
        "d": {"title": "d", "type": "integer"},
        "e": {"title": "e"},
    }
    assert told["required"] == ["a", "b", "c"]
    messages = [notice["message"] for notice in ran.notices("parameter")]
    assert [message.split(" of flow")[0] for message in messages] == [
        "cannot tell the type of parameter 'b'",
        "cannot tell the default of parameter 'd'",
        "cannot tell the type of parameter 'e'",
        "cannot tell the type of parameter 'c'",
    ]


def test_decorated_function_is_told_as_the_function_itself(run):
    """Lines and parameters are those of the function that a decorator wraps."""
    ran = run(
        """
        import functools
        from prefect import flow

        def noisy(fn):
            @functools.wraps(fn)
            def wrapper(*args, **kwargs):
                return fn(*args, **kwargs)
            return wrapper

        @flow
        @noisy
        def f(x: int): ...
        """
    )
    assert ran.flows[0]["line"] == 11
    assert ran.flows[0]["parameters"]["required"] == ["x"]


def test_creating_while_loading_creates_nothing(run):
    """A spec's own methods leave a notice or do nothing."""
    ran = run(HEAD + "DeploymentSpec(flow=f).create_deployment()\n")
    assert "created nothing" in ran.notices("spec")[0]["message"]


def test_tags_states_and_hash_are_there(run):
    """What flows use while they run can be imported and called while they are not."""
    run(
        HEAD
        + "with tags('a') as held: assert held == {'a'}\n"
        + "assert Completed(message='m').type.value == 'COMPLETED'\n"
        + "@task(cache_key_fn=task_input_hash, retries=2, tags=['x'])\ndef t(a): ...\n"
        + "class Context: task = t\n"
        + "assert task_input_hash(Context, {'a': 1}) == task_input_hash(Context, {'a': 1}) != None\n"
        + "assert t.with_options(name='n').retries == 2\n"
    )
    ran = run(HEAD + "@task\ndef t(wait_for): ...\n", fails=True)
    assert "reserved argument name" in ran.error["message"]
