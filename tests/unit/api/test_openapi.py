"""The OpenAPI document is valid, and complete for every route."""

import re
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import ApiSettings, build_app
from api.openapi import build_document, refusals_of
from api.operation import OPEN, SIGNED_IN, find_operation, iter_operations
from storage.catalogue.engine import Catalogue
from storage.permissions import PERMISSIONS


@pytest.fixture(scope="module")
def app() -> Flask:
    """Build an application whose services are never called."""
    catalogue = Catalogue("postgresql://127.0.0.1:1/none")
    return build_app(catalogue, None, None, None, ApiSettings())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    """Build the document of the application."""
    return build_document(iter_operations(app))


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """The document is valid OpenAPI 3.1, and every reference has a target."""
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_declares_its_permission(app: Flask) -> None:
    """Every view is an operation or a page with a declared permission."""
    for rule in app.url_map.iter_rules():
        operation = find_operation(app, rule.endpoint)
        page = app.view_functions[rule.endpoint]
        needs = operation.needs if operation is not None else getattr(page, "needs", None)
        assert needs in {*PERMISSIONS, OPEN, SIGNED_IN}, rule
        assert "OPTIONS" not in (rule.methods or ())


def test_only_health_and_modules_are_open(app: Flask) -> None:
    """Only /health/* and static files need no token."""
    open_rules = {each.rule for each in iter_operations(app) if each.needs == OPEN}
    files = {
        f"/static/{version}{vendor}<name>"
        for version in ("", "<wanted>/")
        for vendor in ("", "vendor/")
    }
    assert open_rules == {"/health/live", "/health/ready"} | files


def test_every_route_is_documented_with_its_errors(app: Flask, document: dict[str, Any]) -> None:
    """Each operation has its parameters, answers and error_ids."""
    for operation in iter_operations(app):
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", operation.rule)
        described = document["paths"][path][operation.method.lower()]
        in_path = {each["name"] for each in described["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert {str(status) for status in operation.answers} <= set(described["responses"])
        for refusal in refusals_of(operation):
            response = described["responses"][str(refusal.status)]
            assert f"`{refusal.error_id}`" in response["description"]
            is_one_line = path.startswith("/api/v1/dialplan/")
            media_type = "text/plain" if is_one_line else "application/problem+json"
            assert media_type in response["content"]
        assert described["summary"]


def test_a_dialplan_gets_lines_by_a_token_of_its_own(document: dict[str, Any]) -> None:
    """Each answer to a dialplan is plain text, and its token may be in the URL."""
    schemes = document["components"]["securitySchemes"]
    assert (schemes["dialplan"]["in"], schemes["dialplan"]["name"]) == ("query", "token")
    for path, operations in document["paths"].items():
        for described in operations.values():
            is_for_dialplans = {"dialplan": []} in described.get("security", [])
            assert is_for_dialplans == path.startswith("/api/v1/dialplan/")
            if is_for_dialplans:
                contents = [set(one["content"]) for one in described["responses"].values()]
                assert contents == [{"text/plain"}] * len(contents)


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """A generated client gets one function per operation."""
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))


def test_the_contracts_filters_are_documented(document: dict[str, Any]) -> None:
    """GET /recordings has the contract's parameters."""
    parameters = document["paths"]["/api/v1/recordings"]["get"]["parameters"]
    filters = ["call_id", "number", "agent", "queue", "did", "direction", "tag", "rule", "state"]
    filters += ["from", "to", "min_duration_s", "max_duration_s", "q"]
    assert {each["name"] for each in parameters} == {*filters, "limit", "cursor"}
