"""Control recordings from a dialplan: `CURL()` gets one plain line as the answer."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Response
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from api.fields.calls import DialplanQuery
from api.operation import Operations, Reply
from api.problems import status_of
from api.services import services
from recorder.recording.demand import OnDemand
from recorder.rules.facts import past_facts
from storage.catalogue import calls, decisions
from storage.errors import EarwitnessError, NoSuchCall
from storage.permissions import RECORDINGS_CONTROL
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
        if query.action == "decide":
            with services().catalogue.begin() as tx:
                kept = decisions.find_decision(tx, call.id)
            facts = replace(past_facts(call, kept)[-1], at=datetime.now(UTC), answered=True)
            decision = services().book.current().decide(facts, call.id)
            rule = decision.rule
            reason = f"rule {rule.name!r}" if rule is not None else "no rule matched"
            return _plain(f"{decision.action}: {reason}")
        demand = OnDemand(services().catalogue, services().capture)
        recording = demand.carry_out(call.id, query.action, by="dialplan", trigger="dialplan")
        return _plain(f"ok: {recording.state} {recording.id}")
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


def _await_call(channel: str) -> CallRecord:
    """Return the live call of a channel; wait a little for it. Raises NoSuchCall."""
    attempts = Retrying(
        retry=retry_if_exception_type(NoSuchCall),
        stop=stop_after_delay(KNOWN_WITHIN_S),
        wait=wait_fixed(0.02),
        reraise=True,
    )
    for attempt in attempts:
        with attempt, services().catalogue.begin() as tx:
            if (call := calls.find_live_call_of(tx, channel)) is not None:
                return call
            raise NoSuchCall(f"no live call has a channel {channel}")
    raise AssertionError("the last attempt returns or raises")


def _plain(line: str, status: int = 200) -> Response:
    return Response(" ".join(line.split()) + "\n", status, content_type="text/plain; charset=utf-8")
