"""Control recordings from a dialplan: `CURL()` gets one plain line as the answer."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Response
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from api.fields.calls import DialplanQuery
from api.operation import Operations, Reply
from api.permissions import RECORDINGS_CONTROL
from api.problems import status_of
from api.services import services
from recorder.recording.demand import Command, OnDemand
from recorder.rules.facts import past_facts
from storage.catalogue import calls, decisions
from storage.errors import EarwitnessError, NoSuchCall
from storage.records import CallRecord

operations = Operations("/api/v1", tag="dialplan")

PLAIN = ("text/plain",)
# A dialplan may call before the events of its channel have arrived.
KNOWN_WITHIN_S = 0.3
ANSWERS: Mapping[int, Reply] = {
    200: Reply("One line: the result, or the decision and its reason.", media_types=PLAIN),
    404: Reply("One line: no live call has this channel.", media_types=PLAIN),
    409: Reply("One line: the reason of the refusal.", media_types=PLAIN),
    503: Reply("One line: the PBX does not answer.", media_types=PLAIN),
}


@operations.get(
    "/dialplan/record", RECORDINGS_CONTROL, ANSWERS, query=DialplanQuery, is_for_dialplans=True
)
def get_from_dialplan(query: DialplanQuery) -> Response:
    """Start, stop, pause or resume the recording of a channel's call, or return the decision.

    `decide` returns the decision for the answered call, such as `record: rule 'support'`, and
    changes nothing. A request straight from the address of a configured PBX needs no token.
    """
    try:
        call = _await_call(query.channel)
        line = _decide(call) if query.action == "decide" else _carry_out(call, query.action)
        return _plain(line)
    except EarwitnessError as error:
        status = status_of(type(error))
        detail = str(error) if status < HTTPStatus.INTERNAL_SERVER_ERROR else "try again"
        return _plain(f"error: {error.error_id}: {detail}", status)


@operations.post(
    "/dialplan/record", RECORDINGS_CONTROL, ANSWERS, query=DialplanQuery, is_for_dialplans=True
)
def post_from_dialplan(query: DialplanQuery) -> Response:
    """Do the same by POST, with the parameters in the URL or as a form: `CURL(url,form)`."""
    return get_from_dialplan(query)


def _decide(call: CallRecord) -> str:
    with services().catalogue.begin() as tx:
        said = decisions.find_decision(tx, call.id)
    facts = past_facts(call, said)[-1]
    facts = replace(facts, at=datetime.now(UTC), answered=True)
    decision = services().book.current().decide(facts, call.id)
    reason = f"rule {decision.rule.name!r}" if decision.rule is not None else "no rule matched"
    return f"{decision.action}: {reason}"


def _carry_out(call: CallRecord, order: Command) -> str:
    demand = OnDemand(services().catalogue, services().capture)
    recording = demand.carry_out(call.id, order, by="dialplan", trigger="dialplan")
    return f"ok: {recording.state} {recording.id}"


def _await_call(channel: str) -> CallRecord:
    attempts = Retrying(
        retry=retry_if_result(lambda call: call is None),
        stop=stop_after_delay(KNOWN_WITHIN_S),
        wait=wait_fixed(0.02),
    )
    with suppress(RetryError):
        call = attempts(_find_call, channel)
        if call is not None:
            return call
    raise NoSuchCall(f"no live call has a channel {channel}")


def _find_call(channel: str) -> CallRecord | None:
    with services().catalogue.begin() as tx:
        return calls.find_live_call_of(tx, channel)


def _plain(line: str, status: int = 200) -> Response:
    return Response(" ".join(line.split()) + "\n", status, content_type="text/plain; charset=utf-8")
