"""Every operation under requests that the OpenAPI document allows, and that it does not.

Schemathesis makes the requests from the document and holds each answer against it: the status, the
type, the headers and the schema; no error of ours; and a refusal without a token.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from matrix_world import Caller, World, open_world
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import allow_header_conformance, unsupported_method

from api.app import ApiSettings, build_app
from api.openapi import build_document
from api.operation import iter_operations
from storage.catalogue.engine import Catalogue

# No schema says which cursors, numbers or names of PBXs there are: 422.
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "422"]
SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))


def build_schema(*, boundaries: bool = True) -> schemathesis.BaseSchema:
    """Read the document of an application whose services are never called.

    The requests are the same in every run; with `boundaries` they try each bound of each value. A
    stream of events has no end: `test_matrix.py` reads it.
    """
    catalogue = Catalogue("postgresql://127.0.0.1:1/none")
    app = build_app(catalogue, None, None, None, ApiSettings())  # type: ignore[arg-type]
    document = json.loads(json.dumps(build_document(iter_operations(app))))
    config = {
        "generation": {"deterministic": True, "max-examples": 6, "no-shrink": True},
        "phases": {"coverage": {"enabled": boundaries}},
        "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
    }
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(config))
    schema.app = SERVED
    return schema.exclude(operation_id="follow_events")


class Served:
    """The application of the tests, which is built after the schema."""

    def __init__(self) -> None:
        self.app: Flask | None = None

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        assert self.app is not None
        return self.app(environ, start_response)


SERVED = Served()
ALL = build_schema()
FEW = build_schema(boundaries=False)


@pytest.fixture(scope="module")
def world(database_url: str) -> Iterator[World]:
    """Build an application with things of every kind, and serve the schema from it."""
    with open_world(database_url) as opened:
        SERVED.app = opened.app
        yield opened


@ALL.parametrize()
@SETTINGS
def test_a_token_that_may_do_everything(case: Case, world: World) -> None:
    """Each answer is as the document says, whatever is asked, of things that exist and others."""
    caller = next(world.callers())
    ask(case, world, caller)
    known = known_ids(world, case.operation.path)
    if case.path_parameters and known.keys() & case.path_parameters.keys():
        case.path_parameters = {**case.path_parameters, **known}
        ask(case, world, caller)


@FEW.parametrize()
@SETTINGS
def test_a_token_that_may_do_nothing(case: Case, world: World) -> None:
    """Each answer is as the document says, whatever is asked."""
    ask(case, world, world.nothing)


def ask(case: Case, world: World, caller: Caller) -> None:
    """Send a request, hold the answer against the document, and undo what it has done."""
    left_out = [allow_header_conformance, unsupported_method] if is_shared(case) else []
    with world.trying():
        case.call_and_validate(headers=dict(caller.headers), excluded_checks=left_out)


def is_shared(case: Case) -> bool:
    """Whether another path also fits the path of the operation, which has the methods of both.

    Example: `/rules/test` is `/rules/{rule_id}` too, and an id of a call may hold a slash.
    """
    path = case.operation.path
    others = (one.ok().path for one in ALL.get_all_operations())
    pattern = r"{call_id}", ".+"
    return any(
        re.fullmatch(re.sub(r"{\w+}", "[^/]+", one.replace(*pattern)), path)
        for one in others
        if one != path
    )


def known_ids(world: World, path: str) -> dict[str, str]:
    """Return the variables in this path that name existing things."""
    is_stored = any(word in path for word in ("audio", "waveform", "manifest", "links"))
    kinds = ["call", "call-back", "conference", "spy", "campaign", "phone", "recording"]
    known = dict(world.common)
    for kind in (*kinds, "stored recording") if is_stored else kinds:
        known |= world.ids[kind]["east"]
    known |= world.owned[next(world.callers()).owns]
    return {name: value for name, value in known.items() if f"{{{name}}}" in path}
