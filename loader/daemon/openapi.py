"""What can be asked, as an OpenAPI document: made of the models that requests and answers are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from loader.answers import Planned, Verdict
from loader.daemon import problems
from loader.daemon.bodies import JSON, MSGPACK, PROBLEM
from loader.daemon.requests import Asked, Checking, Deploying, Planning
from loader.daemon.state import Watched
from loader.doctor import Report
from loader.models import Outcome, Spec

REF = "#/components/schemas/{model}"
POSTED: Mapping[str, tuple[type[Asked], str, str]] = {
    "/v1/load": (Asked, "Outcome", "Run a script and say what it holds"),
    "/v1/check": (Checking, "Verdict", "Before a run: whether it may go ahead, and every reason why not"),
    "/v1/specs": (Planning, "Plan", "The deployment specs of a script or manifest, judged"),
    "/v1/deploy": (Deploying, "Plan", "Create or update the deployments of a script or manifest"),
}
GOT: Mapping[str, tuple[str, str]] = {
    "/v1/sources": ("Sources", "The sources that are watched, so many at a time"),
    "/v1/sources/{id}": ("Watched", "One source that is watched"),
    "/v1/health/live": ("Health", "Whether the daemon answers"),
    "/v1/health/ready": ("Health", "Whether it can load"),
    "/v1/sandbox": ("Report", "What this host can enforce"),
    "/v1/version": ("Version", "What runs here"),
    "/v1/openapi.json": ("Document", "This document"),
}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "/v1/sources": {"name": "after", "in": "query", "description": "What the last answer called next"},
    "/v1/sources/{id}": {"name": "id", "in": "path", "required": True},
}
TEXTS: Mapping[str, tuple[str, str]] = {
    "/v1/events": ("text/event-stream", "What happens, as it happens; Last-Event-ID goes on after an event"),
    "/v1/metrics": ("text/plain", "What is counted, for Prometheus"),
}


SECURITY: list[dict[str, list[str]]] = [{}, {"token": []}]


@cache
def document(version: str) -> Mapping[str, Any]:
    """The document."""
    paths: dict[str, Any] = {}
    for path, (model, answer, summary) in POSTED.items():
        body = {kind: {"schema": ref(model.__name__)} for kind in (JSON, MSGPACK)}
        answers = {
            **answered(answer),
            **refusals(400, 403, 406, 408, 413, 415, 417, 422, 429, 500, 502, 503, 504),
        }
        paths[path] = {
            "post": {
                "summary": summary,
                "operationId": path.rpartition("/")[2],
                "requestBody": {"required": True, "content": body},
                "responses": answers,
            }
        }
    for path, (answer, summary) in GOT.items():
        paths[path] = {"get": got(path, summary, answered(answer))}
    for path, (kind, summary) in TEXTS.items():
        found = {"200": {"description": "The answer", "content": {kind: {"schema": {"type": "string"}}}}}
        paths[path] = {"get": got(path, summary, found)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "flow-loader", "version": version, "summary": "What a flow script holds"},
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Over TCP only"}
            },
        },
        "security": SECURITY,
    }


def got(path: str, summary: str, found: dict[str, Any]) -> dict[str, Any]:
    """What is said of a path that is only read."""
    named = path.removeprefix("/v1/").replace("/", "-").replace("{", "").replace("}", "")
    told: dict[str, Any] = {
        "summary": summary,
        "operationId": named,
        "responses": {**found, **refusals(403, 404, 406, 417, 500, 503)},
    }
    if path in PARAMETERS:
        told["parameters"] = [{"schema": {"type": "string"}, **PARAMETERS[path]}]
    return told


def ref(name: str) -> dict[str, str]:
    """Where a schema is."""
    return {"$ref": REF.format(model=name)}


def answered(name: str) -> dict[str, Any]:
    """An answer of a schema."""
    content = {kind: {"schema": ref(name)} for kind in (JSON, MSGPACK)}
    return {"200": {"description": "The answer; a script's failure is its status", "content": content}}


def refusals(*statuses: int) -> dict[str, Any]:
    """The answers that say why there is no other."""
    titles = {
        status: [title for code, title in problems.KINDS.values() if code == status] for status in statuses
    }
    content = {kind: {"schema": ref("Problem")} for kind in (PROBLEM, MSGPACK)}
    return {
        str(status): {"description": "; ".join(told) or "A problem", "content": content}
        for status, told in titles.items()
    }


def schemas() -> dict[str, Any]:
    """Every schema by name."""
    found: dict[str, Any] = {}
    for asked, _, _ in POSTED.values():
        add(found, asked, "validation")
    for model in (Outcome, Verdict, Planned, Report):
        add(found, model, "serialization")
    add(found, Spec, "serialization")
    plain: dict[str, Any] = {"type": "object"}
    found["Plan"] = plan(found)
    found["Problem"] = problem()
    found["Health"] = {**plain, "properties": {"status": {"enum": ["live", "ready"]}}, "required": ["status"]}
    found["Version"] = strings("version", "api", "python", "kernel")
    add(found, Watched, "serialization")
    found["Watched"]["required"] = ["id", "location", "status"]
    sources = {"sources": {"type": "array", "items": ref("Watched")}, "next": {"type": ["string", "null"]}}
    found["Sources"] = {**plain, "properties": sources}
    found["Document"] = plain
    return found


def add(found: dict[str, Any], model: type[Any], mode: Any) -> None:
    """A model's schema, and those that it is made of."""
    adapter = model if issubclass(model, BaseModel) else TypeAdapter(model)
    make = adapter.model_json_schema if isinstance(adapter, type) else adapter.json_schema
    schema = make(mode=mode, ref_template=REF)
    found.update(schema.pop("$defs", {}))
    found[model.__name__] = schema


def plan(found: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome whose specs have more to say."""
    own = {name: value for name, value in found["Planned"]["properties"].items() if name != "spec"}
    item = {"allOf": [ref("Spec"), {"type": "object", "properties": own}]}
    outcome = found["Outcome"]
    properties = {
        **outcome["properties"],
        "specs": {"type": "array", "items": item},
        "api": {"type": "string"},
    }
    return {**outcome, "title": "Plan", "properties": properties, "additionalProperties": False}


def problem() -> dict[str, Any]:
    """RFC 9457, and the limit, the size and the option."""
    told = strings("type", "title", "detail", "instance", "option")
    told["properties"] = {
        **told["properties"],
        "status": {"type": "integer"},
        **{name: {"type": "number"} for name in ("limit", "size", "retry_after")},
        "mistakes": {"type": "array", "items": strings("field", "message")},
    }
    return {**told, "required": ["type", "title", "status", "detail", "instance"]}


def strings(*names: str) -> dict[str, Any]:
    """An object of texts."""
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": list(names),
    }
