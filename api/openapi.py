"""Build the OpenAPI 3.1 document from the operations and their models. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.auth import SAFE_METHODS
from api.dialplans import TOKEN
from api.errors import Busy, Forbidden, InternalError, NotAuthenticated, RequestInvalid
from api.fields.base import Answer
from api.idempotency import HEADER, REPLAYED
from api.operation import CSV, FORM, JSON, OPEN, SIGNED_IN, Operation
from api.problems import MEDIA_TYPE, status_of, title_of
from storage.errors import CatalogueUnavailable, EarwitnessError, IdempotencyKeyReused
from storage.permissions import PERMISSIONS, ROLES

VERSION = "3.1.0"
REFS = "#/components/schemas/{model}"

DESCRIPTION = """\
Call recording and live supervision for Asterisk.

Every request needs a token, `Authorization: Bearer TOKEN`, except those to `/health/*`. In the
address bar of a browser the token can be the password of HTTP Basic, with any user name.

Errors are problem documents (RFC 9457); `error_id` and `type` never change. Times are RFC 3339 in
UTC; in a URL write `+` as `%2B`. Lists take `limit` and `cursor`, newest first. A POST with an
`Idempotency-Key` acts once, and each repetition within a day gets the same answer; a POST that
failed may be sent again under its key. A call or recording that a token may not see is answered by
404.
"""


class Fault(Answer):
    """One fault of a request: its place, and the expected value."""

    loc: list[str | int] = Field(examples=[["query", "limit"]])
    msg: str


class Problem(Answer):
    """An error, as a problem document of RFC 9457."""

    type: str = Field(examples=["/problems/no-such-recording"])
    title: str
    status: int
    detail: str
    error_id: str = Field(examples=["no-such-recording"])
    instance: str = Field(description="the id of this occurrence, also in the log of the service")
    errors: list[Fault] = Field(default=[], description="only with `request-invalid`")
    field: str | None = Field(None, description="with `rule-invalid`: the key of the rule")
    position: int | None = Field(
        None, description="with `rule-invalid`: the character of that key, from 0"
    )
    hint: str | None = Field(None, description="with `rule-invalid`: how to correct it, or empty")
    rule: str | None = Field(
        None, description="with `number-refused`: the rule that refuses it, such as a prefix"
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """One problem document that an operation can answer with."""

    status: int
    error_id: str
    title: str


# The HTTP layer refuses these before it calls an operation.
FORM_REFUSAL = Refusal(413, "request-entity-too-large", "Request Entity Too Large")
BODY_REFUSALS = (
    Refusal(400, "bad-request", "Bad Request"),
    FORM_REFUSAL,
    Refusal(415, "unsupported-media-type", "Unsupported Media Type"),
)
PATH_REFUSAL = Refusal(404, "not-found", "Not Found")

PROBLEM_HEADERS = {401: "WWW-Authenticate", 416: "Content-Range", 503: "Retry-After"}
_TYPES_IN_PATHS = {"uuid": {"type": "string", "format": "uuid"}}


def build_document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Build the document of these operations; the tags keep the order of the operations."""
    as_wired = list(operations)
    listed = sorted(as_wired, key=lambda operation: (operation.rule, operation.method))
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", operation.rule)
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": VERSION,
        "info": {"title": "Earwitness", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in as_wired)],
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(listed),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
                "dialplan": {
                    "type": "apiKey",
                    "in": "query",
                    "name": TOKEN,
                    "description": "a token of `token create --for-dialplan PBX`; as the user or"
                    " the password of HTTP Basic too",
                },
            },
        },
    }


def refusals_of(operation: Operation) -> tuple[Refusal, ...]:
    """Return every problem that the operation can answer with."""
    errors: list[type[EarwitnessError]] = [*operation.errors, InternalError]
    http: list[Refusal] = []
    if operation.needs != OPEN:
        errors += [NotAuthenticated, CatalogueUnavailable, Busy]
    if operation.needs not in (OPEN, SIGNED_IN) or operation.method not in SAFE_METHODS:
        errors.append(Forbidden)
    if operation.query is not None:
        errors.append(RequestInvalid)
    if operation.body is not None or operation.csv_bytes:
        errors.append(RequestInvalid)
        http += BODY_REFUSALS
    elif operation.query is not None and operation.method == "POST":
        http.append(FORM_REFUSAL)
    if operation.acts_once:
        errors.append(IdempotencyKeyReused)
    if "<" in operation.rule:
        http.append(PATH_REFUSAL)
    ours = (Refusal(status_of(error), error.error_id, title_of(error)) for error in errors)
    return tuple(sorted({*ours, *http}, key=lambda refusal: (refusal.status, refusal.error_id)))


def _describe(operation: Operation) -> dict[str, Any]:
    summary, _, more = (operation.handler.__doc__ or "").strip().partition("\n")
    if operation.needs in PERMISSIONS:
        roles = ", ".join(sorted(role for role, can in ROLES.items() if operation.needs in can))
        needs = f"Needs `{operation.needs}` ({PERMISSIONS[operation.needs]}): {roles}."
    else:
        needs = f"Needs {operation.needs}."
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": summary.rstrip("."),
        "description": f"{more.strip()}\n\n{needs}".strip(),
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.needs == OPEN:
        described["security"] = []
    if operation.is_for_dialplans:
        described["security"] = [{"dialplan": []}, {"bearer": []}, {"basic": []}]
    if operation.body is not None:
        # No body counts as `{}`.
        is_required = any(field.is_required() for field in operation.body.model_fields.values())
        content = {JSON: {"schema": _ref(operation.body)}}
        described["requestBody"] = {"required": is_required, "content": content}
    if operation.csv_bytes:
        content = {CSV: {"schema": {"type": "string"}}}
        described["requestBody"] = {"required": True, "content": content}
    elif operation.query is not None and operation.method == "POST":
        schema = operation.query.model_json_schema(by_alias=True)
        described["requestBody"] = {"content": {FORM: {"schema": schema}}}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _TYPES_IN_PATHS.get(kind, {"type": "string"}),
        }
        for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", operation.rule)
    ]
    if operation.query is not None:
        found += [
            {
                "name": name,
                "in": "query",
                "description": schema.get("description", ""),
                "schema": _without_null(schema),
            }
            for name, schema in operation.query.model_json_schema()["properties"].items()
        ]
    if operation.acts_once:
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        found.append({"name": HEADER, "in": "header", "schema": schema})
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without null: a parameter of a URL can be absent, but never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {
        key: value
        for key, value in schema.items()
        if key not in ("anyOf", "title", "description") and (key, value) != ("default", None)
    }
    return {**rest, **options[0]} if options else rest


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, dict[str, Any]] = {}
    for code, reply in operation.answers.items():
        described: dict[str, Any] = {"description": reply.description}
        if reply.model is not None:
            described["content"] = {JSON: {"schema": _ref(reply.model)}}
        if reply.media_types:
            described["content"] = {media_type: {} for media_type in reply.media_types}
        if reply.headers:
            described["headers"] = {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in reply.headers.items()
            }
        if operation.acts_once:
            described.setdefault("headers", {})[REPLAYED] = {
                "description": "present if this repeats the answer to an earlier request",
                "schema": {"const": "true"},
            }
        responses[str(code)] = described
    for refusal in refusals_of(operation):
        problem = responses.setdefault(str(refusal.status), {"description": ""})
        line = f"`{refusal.error_id}`: {refusal.title}."
        problem["description"] = f"{problem['description']}\n\n{line}".strip()
        if operation.is_for_dialplans:
            problem.setdefault("content", {})["text/plain"] = {}
        else:
            problem.setdefault("content", {})[MEDIA_TYPE] = {"schema": _ref(Problem)}
        headers = problem.setdefault("headers", {})
        if refusal.status in PROBLEM_HEADERS:
            headers[PROBLEM_HEADERS[refusal.status]] = {"schema": {"type": "string"}}
    return responses


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the schema of every model, by its name."""
    answered: set[type[BaseModel]] = {Problem}
    taken: set[type[BaseModel]] = set()
    for operation in operations:
        answered |= {each.model for each in operation.answers.values() if each.model is not None}
        taken |= {operation.body} if operation.body is not None else set()
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "serialization") for model in _by_name(answered)
    ]
    models += [(model, "validation") for model in _by_name(taken)]
    _, found = models_json_schema(models, ref_template=REFS)
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _by_name(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFS.format(model=model.__name__)}
