"""The OpenAPI document says what is so: requests made of it get the answers that it tells of."""

import http.client
import json

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from jsonschema import Draft202012Validator

from tests.daemon.running import Connection

EXAMPLES = 25
OPERATIONS = ("/v1/load", "/v1/check", "/v1/specs")
MOST_SECONDS = 60


@pytest.fixture(scope="module")
def document(daemon):
    return daemon.get("/v1/openapi.json").json


@pytest.mark.slow
def test_the_document_is_one(document):
    """It is read by a library that knows the standard, and names every route."""
    schema = schemathesis.openapi.from_dict(document)
    found = {operation.ok().path for operation in schema.get_all_operations()}
    assert {"/v1/load", "/v1/deploy", "/v1/sources/{id}", "/v1/events", "/v1/health/ready"} <= found


def validator(document, path, method, status, kind):
    """What checks an answer."""
    content = document["paths"][path][method]["responses"][str(status)]["content"]
    return Draft202012Validator({**content[kind]["schema"], "components": document["components"]})


@pytest.mark.slow
@pytest.mark.parametrize("path", OPERATIONS)
def test_requests_made_of_the_document_are_answered_as_it_says(daemon, document, path):
    """Sound ones and broken ones: no answer that is not told of, and never a mistake of ours."""
    operation = schemathesis.openapi.from_dict(document)[path]["POST"]
    modes = schemathesis.GenerationMode
    cases = strategies.one_of(
        operation.as_strategy(generation_mode=modes.POSITIVE),
        operation.as_strategy(generation_mode=modes.NEGATIVE),
    )

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize=True,
        database=None,
    )
    @hypothesis.given(case=cases)
    def ask(case):
        body = case.body if isinstance(case.body, (dict, list, str, int, float, bool, type(None))) else None
        if isinstance(body, dict):
            body = {**body, "timeout": 1} if isinstance(body.get("timeout"), (int, float)) else body
        data = json.dumps(body, default=repr).encode()
        answer = daemon.ask("POST", path, data, timeout=MOST_SECONDS)
        kind = answer.headers["Content-Type"]
        assert answer.status < 500 or answer.status in (502, 503, 504), answer
        validator(document, path, "post", answer.status, kind).validate(answer.json)

    ask()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["/v1/sources", "/v1/health/live", "/v1/health/ready", "/v1/sandbox", "/v1/version"]
)
def test_what_is_read_is_as_the_document_says(daemon, document, path):
    """Each answer fits its schema."""
    answer = daemon.get(path)
    validator(document, path, "get", answer.status, answer.headers["Content-Type"]).validate(answer.json)


@hypothesis.settings(max_examples=100, deadline=None, database=None)
@hypothesis.given(data=strategies.binary(max_size=200))
def test_bytes_that_are_no_request_end_nothing(daemon, data):
    """Whatever is sent, the next one is answered."""
    connection = Connection(daemon.socket)
    connection.connect()
    connection.sock.sendall(data + b"\r\n\r\n")
    connection.sock.close()
    connection.close()
    assert daemon.get("/v1/health/live").status == http.client.OK
