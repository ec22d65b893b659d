"""What a Prefect server answers is not believed: it is compared with what was asked, and never shown whole.

The servers are real ones on this machine that answer so.
"""

import json
import traceback
from uuid import UUID

import pytest

from loader import DeploymentSpec, FileStorageBlock
from loader.client.interface import DeploymentRequest
from loader.client.prefect import PrefectServer, http
from loader.errors import ClientError

KEY = "pnu_0123456789abcdefghijklmnopqrstuvwxyz"
ID, OTHER_ID = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
FLOW = {"id": ID, "name": "f", "created": "2026-01-01T00:00:00Z"}
DEPLOYMENT = {"id": ID, "flow_id": ID, "name": "d"}
REQUEST = DeploymentRequest(name="d", flow_id=UUID(ID))
LONG = "n" * 5000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A server that is too busy is asked again soon."""
    monkeypatch.setattr(http, "WAITS", (0.01, 0.02, 0.04))


def message_of(act):
    """What a ClientError says, in a traceback too."""
    with pytest.raises(ClientError) as caught:
        act()
    assert str(caught.value).startswith("cannot ")
    assert KEY[:12] not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def methods(server):
    return [request[0] for request in server.requests]


class Flows:
    """A server's flows. The first creations are done, but answered with one of the statuses of ``busy``."""

    def __init__(self, *busy, then=200):
        self.known, self.busy, self.then = {}, list(busy), then
        self.answers = {
            "/flows/filter": lambda _: (200, {}, list(self.known.values())),
            "/flows/": self.create,
            f"/flows/{ID}": self.delete,
            "/deployments/count": (200, {}, 0),
            "/deployments/filter": (200, {}, []),
            "/deployments/": (422, {}, {"detail": "bad"}),
        }

    def create(self, handler):
        name = json.loads(handler.server.requests[-1][3])["name"]
        status = self.busy.pop(0) if self.busy else self.then
        if status != 429:
            self.known[ID] = {**FLOW, "name": name}
        return status, {}, self.known.get(ID, {"detail": "busy"})

    def delete(self, handler):
        assert handler.command == "DELETE"
        del self.known[ID]
        return 204, {}, b""


# --- whose a flow is -----------------------------------------------------------------------------


def create_both(client):
    with client.transaction():
        client.create_deployment(REQUEST.model_copy(update={"flow_id": client.create_flow("f").id}))


def test_a_flow_that_a_busy_server_made_nevertheless_is_taken_back(serve):
    """The second try finds what the first one made: it is ours, though the answer does not say so."""
    flows = Flows(503)
    with PrefectServer(serve(flows.answers).url) as client:
        assert message_of(lambda: create_both(client)) == "cannot create deployment 'd' of flow 'f': bad"
        assert flows.known == {}
        flows.busy = [503]
        assert client.create_flow("f").new


def test_a_refusal_after_a_busy_answer_is_not_taken_for_nothing_done(serve):
    """The first try may have been carried out, and is looked for."""
    flows = Flows(503, then=422)
    with PrefectServer(serve(flows.answers).url) as client:
        message_of(lambda: client.create_flow("f"))
    assert flows.known == {}


@pytest.mark.parametrize("status", [408, 425, 499])
def test_what_something_on_the_way_gave_up_on_is_looked_for(serve, status):
    """The server behind it may have done it."""
    flows = Flows(then=status)
    with PrefectServer(serve(flows.answers).url) as client:
        message_of(lambda: client.create_flow("f"))
    assert flows.known == {}


def test_an_answer_that_says_nothing_is_looked_behind(serve):
    """A flow that was made is taken back, though the server does not say that it made it."""
    flows = Flows()
    server = serve(flows.answers)
    server.answers["/flows/"] = lambda handler: (*flows.create(handler)[:2], None)
    with PrefectServer(server.url) as client:
        message_of(lambda: client.create_flow("f"))
    assert flows.known == {}


@pytest.mark.parametrize(("status", "undone"), [(422, True), (500, False), (408, False)])
def test_a_transaction_is_undone_when_its_server_says_so(serve, status, undone):
    """One that did not say whether it did something may yet do it: what it leads to must stay."""
    flows, seen = Flows(then=201), []
    server = serve({**flows.answers, "/deployments/": (status, {}, {"detail": "no"})})

    def attempt(client):
        with client.transaction() as made:
            seen.append(made)
            create_both(client)

    with PrefectServer(server.url) as client:
        message_of(lambda: attempt(client))
    assert flows.known == {}
    assert [made.undone for made in seen] == [undone]


@pytest.mark.parametrize(("status", "files"), [(422, 0), (500, 1)])
def test_a_script_that_a_server_may_lead_to_stays(serve, tmp_path, status, files):
    """It is taken back when it is sure that there is no deployment."""
    flows = Flows(then=201)
    server = serve({**flows.answers, "/deployments/": (status, {}, {"detail": "no"})})
    (tmp_path / "flow.py").write_text("from prefect import flow\n@flow\ndef f(): pass\n")
    storage = FileStorageBlock(base_path=str(tmp_path / "kept"))
    spec = DeploymentSpec(name="d", flow_location=tmp_path / "flow.py", flow_storage=storage)
    with PrefectServer(server.url) as client:
        message_of(lambda: spec.create_deployment(client))
    assert len([path for path in (tmp_path / "kept").rglob("*") if path.is_file()]) == files


def test_an_interrupt_while_taking_back_ends_one_step_and_is_said(serve):
    """The other steps are taken back; who is interrupted hears of the one that was not."""
    flows = Flows(then=201)
    client = PrefectServer(serve(flows.answers).url)

    def interrupted(_):
        raise KeyboardInterrupt

    @client.transaction()
    def attempt():
        client.create_flow("f")
        client._journal.note("what takes long", interrupted)
        raise KeyError

    with client, pytest.raises(KeyboardInterrupt) as caught:
        attempt()
    assert caught.value.__notes__ == ["cannot take back what takes long: it was interrupted"]
    assert flows.known == {}


@pytest.mark.parametrize("busy", [(), (429,)], ids=["at once", "after a limit of rate"])
def test_a_flow_that_somebody_else_made_meanwhile_is_kept(serve, busy):
    """A server that only finds it says so; one that limits its clients' rate has done nothing before."""
    flows = Flows(*busy)
    server = serve(flows.answers)
    with PrefectServer(server.url) as client:
        message_of(lambda: create_both(client))
    assert flows.known
    assert "DELETE" not in methods(server)


def test_another_flow_of_the_same_name_is_not_taken_back(serve):
    """Ours was deleted meanwhile, and somebody made another."""
    flows = Flows(then=201)
    server = serve(flows.answers)
    server.answers |= {f"/flows/{OTHER_ID}": (204, {}, b"")}

    def exchange(_):
        flows.known = {OTHER_ID: {**FLOW, "id": OTHER_ID}}
        return 422, {}, {"detail": "bad"}

    server.answers["/deployments/"] = exchange
    with PrefectServer(server.url) as client:
        message_of(lambda: create_both(client))
    assert "DELETE" not in methods(server)


def test_a_flow_of_another_name_is_never_taken_back(serve):
    """Not even when the server gives it for ours: that is said in a note."""
    flows = Flows(then=201)
    server = serve(flows.answers)

    def exchange(_):
        flows.known = {ID: {**FLOW, "name": "other"}}
        return 422, {}, {"detail": "bad"}

    server.answers["/deployments/"] = exchange
    with PrefectServer(server.url) as client, pytest.raises(ClientError) as caught:
        create_both(client)
    assert "DELETE" not in methods(server)
    (note,) = caught.value.__notes__
    assert "cannot take back flow 'f': cannot delete flow 'f'" in note
    assert "it does not answer what it was asked" in note


def test_another_deployment_of_the_same_name_is_not_taken_back(serve):
    """Ours was deleted meanwhile, and somebody made another."""
    found = [[], [{**DEPLOYMENT, "id": OTHER_ID}]]
    answers = {
        f"/flows/{ID}": (200, {}, FLOW),
        "/deployments/filter": lambda _: (200, {}, found.pop(0)),
        "/deployments/": (201, {}, DEPLOYMENT),
        f"/deployments/{OTHER_ID}": (204, {}, b""),
    }
    server = serve(answers)
    client = PrefectServer(server.url)

    @client.transaction()
    def attempt():
        client.create_deployment(REQUEST)
        raise KeyError

    with client, pytest.raises(KeyError):
        attempt()
    assert found == []
    assert "DELETE" not in methods(server)


# --- what was asked, and what was answered -------------------------------------------------------

OTHER_FLOW, NONE = {**FLOW, "name": "other"}, (200, {}, [])
GOOD = {
    "/flows/filter": (200, {}, [FLOW]),
    f"/flows/{ID}": (200, {}, FLOW),
    "/deployments/filter": NONE,
    f"/deployments/{ID}": (200, {}, DEPLOYMENT),
    "/deployments/": (201, {}, DEPLOYMENT),
}


@pytest.mark.parametrize(
    ("answers", "ask"),
    [
        ({"/flows/filter": (200, {}, [OTHER_FLOW])}, lambda client: client.create_flow("f")),
        ({"/flows/filter": NONE, "/flows/": (201, {}, OTHER_FLOW)}, lambda client: client.create_flow("f")),
        (
            {f"/flows/{ID}": (200, {}, {**FLOW, "id": OTHER_ID})},
            lambda client: client.read_flow(UUID(ID)),
        ),
        (
            {"/deployments/filter": (200, {}, [{**DEPLOYMENT, "name": "other"}])},
            lambda client: client.create_deployment(REQUEST),
        ),
        (
            {"/deployments/filter": (200, {}, [{**DEPLOYMENT, "flow_id": OTHER_ID}])},
            lambda client: client.create_deployment(REQUEST),
        ),
        (
            {"/deployments/": (201, {}, {**DEPLOYMENT, "name": "other"})},
            lambda client: client.create_deployment(REQUEST),
        ),
        (
            {"/deployments/": (201, {}, {**DEPLOYMENT, "flow_id": OTHER_ID})},
            lambda client: client.create_deployment(REQUEST),
        ),
        (
            {f"/deployments/{ID}": (200, {}, {**DEPLOYMENT, "id": OTHER_ID})},
            lambda client: client.read_deployment(UUID(ID)),
        ),
        (
            {"/flows/filter": (200, {}, [OTHER_FLOW])},
            lambda client: client.read_deployment_by_name("f", "d"),
        ),
        (
            {"/deployments/filter": (200, {}, [{**DEPLOYMENT, "name": "other"}])},
            lambda client: client.read_deployment_by_name("f", "d"),
        ),
        (
            {"/deployments/filter": (200, {}, [{**DEPLOYMENT, "flow_id": OTHER_ID}])},
            lambda client: client.read_deployment_by_name("f", "d"),
        ),
    ],
)
def test_an_answer_to_another_question_is_refused(serve, answers, ask):
    """A server's or a proxy's mistake must not put a deployment on somebody else's flow."""
    server = serve({**GOOD, **answers})
    with PrefectServer(server.url) as client:
        message = message_of(lambda: ask(client))
    assert "it does not answer what it was asked; check that the URL is a Prefect server's" in message


def test_answers_to_what_was_asked_are_taken(serve):
    """The same questions, when nobody lies."""
    with PrefectServer(serve(GOOD).url) as client:
        assert client.create_flow("f").id == client.read_flow(ID).id == UUID(ID)
        assert client.create_deployment(REQUEST).id == client.read_deployment(UUID(ID)).id
    with PrefectServer(serve({**GOOD, "/deployments/filter": (200, {}, [DEPLOYMENT])}).url) as client:
        assert client.read_deployment_by_name("f", "d").flow_name == "f"


# --- what a message repeats ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [KEY, "x" * 90 + KEY, "a'" + KEY], ids=["alone", "at the cut", "quoted"])
def test_a_flow_named_like_the_key_does_not_show_it(serve, name):
    """Nor the part of it that is left where a long name is cut."""
    server = serve(
        {**GOOD, f"/flows/{ID}": (200, {}, {**FLOW, "name": name}), "/deployments/": (500, {}, {})}
    )
    with PrefectServer(server.url, api_key=KEY) as client:
        message = message_of(lambda: client.create_deployment(REQUEST))
    assert "***" in message
    assert "pnu_" not in message


@pytest.mark.parametrize("said", [KEY, KEY.upper()])
def test_what_a_server_gives_holds_no_key(serve, said):
    """A record's fields become parts of messages."""
    more = {"name": said, "path": f"/{said}", "tags": [said], "parameters": {said: [said]}}
    answers = {
        f"/flows/{ID}": (200, {}, {**FLOW, "name": said}),
        f"/deployments/{ID}": (200, {}, DEPLOYMENT | more),
    }
    with PrefectServer(serve(answers).url, api_key=KEY) as client:
        record = client.read_deployment(UUID(ID))
    assert (record.name, record.flow_name, record.path) == ("***", "***", "/***")
    assert (record.tags, record.parameters) == (("***",), {"***": ["***"]})


def test_a_short_key_leaves_records_as_they_are(serve):
    """It is a part of ordinary words, by which things are found."""
    with PrefectServer(serve(GOOD).url, api_key="f") as client:
        assert client.read_deployment(UUID(ID)).flow_name == "f"


def test_what_is_put_back_holds_what_it_held(serve):
    """Also where that was the key: an update that is taken back changes nothing."""
    before = {**DEPLOYMENT, "job_variables": {"env": {"PREFECT_API_KEY": KEY}}}
    server = serve({**GOOD, "/deployments/filter": (200, {}, [before])})
    client = PrefectServer(server.url, api_key=KEY)

    @client.transaction()
    def attempt():
        client.create_deployment(REQUEST)
        raise KeyError

    with client, pytest.raises(KeyError):
        attempt()
    sent = [request for request in server.requests if request[1] == "/api/deployments/"]
    assert json.loads(sent[-1][3])["job_variables"] == before["job_variables"]


@pytest.mark.parametrize("said", [KEY, KEY.swapcase()])
def test_a_refusal_that_repeats_the_key_does_not_show_it(serve, said):
    """In whatever letters."""
    server = serve({**GOOD, "/flows/filter": (400, {}, {"detail": f"bad {said}"})})
    with PrefectServer(server.url, api_key=KEY) as client:
        assert message_of(lambda: client.create_flow("f")) == "cannot create flow 'f': bad ***"


def test_a_version_that_holds_the_key_does_not_show_it(serve):
    """A key is such text as a version may hold."""
    server = serve({"/admin/version": (200, {}, "2.key-0123456789")})
    with PrefectServer(server.url, api_key="key-0123456789") as client:
        message = message_of(lambda: client.create_flow("f"))
    assert "it is a Prefect server of version 2.***, and only version 3 is known" in message


def test_long_names_are_cut(serve):
    """Whether they are the caller's or the server's."""
    server = serve(
        {**GOOD, f"/flows/{ID}": (200, {}, {**FLOW, "name": LONG}), "/deployments/": (500, {}, {})}
    )
    with PrefectServer(server.url) as client:
        calls = [
            lambda: client.create_deployment(REQUEST),
            lambda: client.create_flow(LONG + "/"),
            lambda: client.read_deployment_by_name(LONG, LONG),
            lambda: client.read_block_by_name(LONG),
            lambda: client.read_flow(LONG),
        ]
        for call in calls:
            message = message_of(call)
            assert "n" * 90 in message
            assert len(message) < 600


# --- what is no name, id or request --------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda client: client.create_flow(5), "its name is of type int, not text"),
        (lambda client: client.create_flow(None), "its name is of type NoneType, not text"),
        (lambda client: client.read_flow("../x"), "'../x': it is not a UUID"),
        (lambda client: client.read_flow(5), "<int>: it is not a UUID"),
        (lambda client: client.read_deployment(b"x"), "<bytes>: it is not a UUID"),
        (lambda client: client.read_deployment_by_name("f", 5), "its name is of type int, not text"),
        (lambda client: client.read_deployment_by_name(5, "d"), "its flow is of type int, not text"),
        (lambda client: client.create_deployment(5), "from what is of type int: give a DeploymentRequest"),
    ],
)
def test_arguments_of_other_types_are_refused_in_words(ask, words):
    """Before anything is sent."""
    with PrefectServer("http://127.0.0.1:1/api") as client:
        assert words in message_of(lambda: ask(client))


@pytest.mark.parametrize(
    "arguments", [{"url": 5}, {"url": b"http://127.0.0.1/api"}, {"api_key": 5}, {"timeout": "5"}], ids=str
)
def test_a_client_of_other_types_is_refused_in_words(arguments):
    """Of a key the type alone is said."""
    message_of(lambda: PrefectServer(**{"url": "http://127.0.0.1/api", **arguments}))
