"""The dialplan's operation: `CURL()` gets one line."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, CatalogueCapture, build_call, rebuild_app

from storage.catalogue import calls
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, RuleRecord
from tests.legs import leg

RULE = RuleRecord(
    id="config-1",
    version=1,
    name="support",
    when='did == "3000"',
    action="record",
    priority=100,
    origin="config",
)
PBX = "192.0.2.7"


@pytest.fixture
def call(catalogue: Catalogue) -> CallRecord:
    """Store a live call to 3000."""
    channel = leg(str(uuid4()), party="customer", name=f"PJSIP/trunk-{uuid4().hex[:8]}")
    record = build_call(id=f"main-{uuid4()}", did="3000", agent="2001", channels=(channel,))
    with catalogue.begin() as tx:
        calls.save_calls(tx, [record])
    return record


@pytest.fixture
def nobody(client: ApiClient) -> ApiClient:
    """Return a client without a token, of an API that knows its PBX's address and a rule."""
    services = client.application.extensions["earwitness"]
    settings = replace(
        services.settings,
        rules=(RULE,),
        pbxs=("main", "other"),
        dialplan_addresses={"main": frozenset({PBX})},
    )
    return ApiClient(rebuild_app(client.application, settings), None)


def ask(client: ApiClient, call: CallRecord, action: str, **how: Any) -> tuple[int, str]:
    query = {"channel": call.channels[0].name, "action": action}
    response = client.get("/api/v1/dialplan/record", query_string=query, **how)
    return response.status_code, response.text


def from_pbx(**headers: str) -> dict[str, Any]:
    return {"environ_overrides": {"REMOTE_ADDR": PBX}, "headers": headers}


def test_decide_returns_the_decision(nobody: ApiClient, call: CallRecord) -> None:
    """`decide` returns the decision and its rule before the call is answered."""
    assert ask(nobody, call, "decide", **from_pbx()) == (200, "record: rule 'support'\n")


def test_the_recording_is_controlled(
    nobody: ApiClient, recorder: CatalogueCapture, call: CallRecord
) -> None:
    """Start, pause, resume and stop answer one line; a second start changes nothing."""
    started = recorder.started
    for action, said in (
        ("start", "ok: recording"),
        ("start", "ok: recording"),
        ("pause", "ok: paused"),
        ("resume", "ok: recording"),
        ("stop", "ok: captured"),
    ):
        status, line = ask(nobody, call, action, **from_pbx())
        assert status == 200
        assert line.startswith(said)
        assert line.count("\n") == 1
    assert recorder.started == started + 1
    status, line = ask(nobody, call, "stop", **from_pbx())
    assert (status, line.split(": ")[1]) == (409, "recording-not-active")


@pytest.mark.parametrize("where", ["query_string", "data"])
def test_post_works_the_same(nobody: ApiClient, call: CallRecord, where: str) -> None:
    """POST works the same, with parameters in the URL or as a form."""
    arguments = {where: {"channel": call.channels[0].name, "action": "decide"}}
    response = nobody.post("/api/v1/dialplan/record", **arguments, **from_pbx())
    assert (response.status_code, response.text) == (200, "record: rule 'support'\n")
    assert nobody.post("/api/v1/dialplan/record", **arguments).status_code == 401


def test_a_parameter_that_comes_twice(nobody: ApiClient, call: CallRecord) -> None:
    """A parameter in both URL and form is refused, and so is an unknown one."""
    form = {"channel": call.channels[0].name, "action": "decide"}
    for url in ("?action=stop", "?word=stop"):
        response = nobody.post(f"/api/v1/dialplan/record{url}", data=form, **from_pbx())
        assert response.status_code == 422


def test_an_unknown_channel(nobody: ApiClient, call: CallRecord) -> None:
    """An unknown channel gets one line that says so."""
    query = {"channel": "PJSIP/none-1", "action": "decide"}
    response = nobody.get("/api/v1/dialplan/record", query_string=query, **from_pbx())
    assert response.status_code == 404
    assert response.text.startswith("error: no-such-call: ")
