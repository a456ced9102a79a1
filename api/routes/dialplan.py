"""Commands from a dialplan: `CURL()` gets one plain line as the answer."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from flask import Response
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from api.auth import get_if_visible, principal, refuse
from api.dialplans import NO_ID, find_pbx
from api.fields.calls import DialplanQuery
from api.fields.programs import (
    CallbackCommandQuery,
    CommandQuery,
    ConferenceCommandQuery,
    DialCommandQuery,
)
from api.operation import Operations, Reply
from api.problems import LINE, as_line
from api.services import services
from recorder.errors import BadCommand
from recorder.programs.commands import parse_command
from recorder.programs.programs import CommandOrigin
from recorder.recording.demand import OnDemand
from recorder.rules.facts import past_facts
from storage.catalogue import calls, decisions
from storage.errors import NoSuchCall
from storage.permissions import CALLS_DIAL, CONFERENCES_CONTROL, RECORDINGS_CONTROL
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
COMMAND_ANSWERS: Mapping[int, Reply] = {
    200: Reply("One line: `ok`, the state of the thing and its id.", media_types=PLAIN),
    403: Reply("One line: the program may not do this.", media_types=PLAIN),
    404: Reply("One line: there is no such thing.", media_types=PLAIN),
    409: Reply("One line: the reason of the refusal.", media_types=PLAIN),
    422: Reply("One line: the name of the wrong field.", media_types=PLAIN),
    503: Reply("One line: the PBX does not answer.", media_types=PLAIN),
}


@operations.get(
    "/dialplan/record", RECORDINGS_CONTROL, ANSWERS, query=DialplanQuery, is_for_dialplans=True
)
def get_from_dialplan(query: DialplanQuery) -> Response:
    """Start, stop, pause or resume the recording of a channel's call, or return the decision.

    `decide` returns the decision for the answered call, such as `record: rule 'support'`, and
    changes nothing. With the token of a dialplan, this is a call of its PBX.
    """
    return _line(_control_recording(query))


@operations.post(
    "/dialplan/record", RECORDINGS_CONTROL, ANSWERS, query=DialplanQuery, is_for_dialplans=True
)
def post_from_dialplan(query: DialplanQuery) -> Response:
    """Do the same by POST, with the parameters in the URL or as a form: `CURL(url,form)`."""
    return get_from_dialplan(query)


@operations.get(
    "/dialplan/dial", CALLS_DIAL, COMMAND_ANSWERS, query=DialCommandQuery, is_for_dialplans=True
)
def dial_from_dialplan(query: DialCommandQuery) -> Response:
    """Ring a phone and dial a number, or hang up with `do=hang-up`.

    A dialplan may dial only with the key `programs_may_dial` of its PBX. Any other token must be
    of no team.
    """
    return _line(_carry_out("dial", query))


@operations.post(
    "/dialplan/dial", CALLS_DIAL, COMMAND_ANSWERS, query=DialCommandQuery, is_for_dialplans=True
)
def post_dial_from_dialplan(query: DialCommandQuery) -> Response:
    """Do the same by POST, with the parameters in the URL or as a form."""
    return dial_from_dialplan(query)


@operations.get(
    "/dialplan/callback",
    CALLS_DIAL,
    COMMAND_ANSWERS,
    query=CallbackCommandQuery,
    is_for_dialplans=True,
)
def call_back_from_dialplan(query: CallbackCommandQuery) -> Response:
    """Call a number back at a time, or cancel that with `do=cancel`; permitted as `dial` is."""
    return _line(_carry_out("callback", query))


@operations.post(
    "/dialplan/callback",
    CALLS_DIAL,
    COMMAND_ANSWERS,
    query=CallbackCommandQuery,
    is_for_dialplans=True,
)
def post_call_back_from_dialplan(query: CallbackCommandQuery) -> Response:
    """Do the same by POST, with the parameters in the URL or as a form."""
    return call_back_from_dialplan(query)


@operations.get(
    "/dialplan/conference",
    CONFERENCES_CONTROL,
    COMMAND_ANSWERS,
    query=ConferenceCommandQuery,
    is_for_dialplans=True,
)
def confer_from_dialplan(query: ConferenceCommandQuery) -> Response:
    """Open, change or end a conference, or change its members, as `do` says.

    Calling a phone or a number into it is permitted as `dial` is.
    """
    return _line(_carry_out("conference", query))


@operations.post(
    "/dialplan/conference",
    CONFERENCES_CONTROL,
    COMMAND_ANSWERS,
    query=ConferenceCommandQuery,
    is_for_dialplans=True,
)
def post_confer_from_dialplan(query: ConferenceCommandQuery) -> Response:
    """Do the same by POST, with the parameters in the URL or as a form."""
    return confer_from_dialplan(query)


def _carry_out(action: str, query: CommandQuery) -> str:
    """Carry out a command of a program on the PBX; return the answer."""
    who = principal()
    if who.agents is not None:
        refuse("commands of a team")
    known = services().settings.pbxs
    pbx = find_pbx(query.pbx) or (known[0] if len(known) == 1 else "")
    if pbx not in known:
        raise BadCommand(f"pbx: expected one of {', '.join(known)}")
    origin = CommandOrigin(
        pbx,
        by=who.actor,
        owner_id=None if who.token.id == NO_ID else who.token.id,
        may_dial=None if who.token.pbx is not None else CALLS_DIAL in who.permissions,
        request=query.request or "",
    )
    command = parse_command(query.fields(action))
    return f"ok: {services().programs.carry_out(command, origin).as_line()}"


def _control_recording(query: DialplanQuery) -> str:
    """Carry out a command for a recording; return the answer."""
    call = _await_call(query.channel, find_pbx(query.pbx))
    if query.action == "decide":
        with services().catalogue.begin() as tx:
            kept = decisions.find_decision(tx, call.id)
        facts = replace(past_facts(call, kept)[-1], at=datetime.now(UTC), answered=True)
        decision = services().book.current().decide(facts, call.id)
        rule = decision.rule
        reason = f"rule {rule.name!r}" if rule is not None else "no rule matched"
        return f"{decision.action}: {reason}"
    demand = OnDemand(services().catalogue, services().capture)
    recording = demand.carry_out(call.id, query.action, by=principal().actor, trigger="dialplan")
    return f"ok: {recording.state} {recording.id}"


def _await_call(channel: str, pbx: str | None) -> CallRecord:
    """Return the live call of a channel, if the caller may see it; wait a little for it.

    Raises NoSuchCall.
    """
    missing = NoSuchCall(f"no live call has a channel {channel}")
    find = Retrying(
        retry=retry_if_result(lambda found: found is None),
        stop=stop_after_delay(KNOWN_WITHIN_S),
        wait=wait_fixed(0.02),
        retry_error_callback=lambda _: None,
    )
    call = find(_find_call, channel, pbx)
    if call is None:
        raise missing
    try:
        return get_if_visible(calls.get_call, call.id)
    except NoSuchCall:
        raise missing from None


def _find_call(channel: str, pbx: str | None) -> CallRecord | None:
    with services().catalogue.begin() as tx:
        return calls.find_live_call_of(tx, channel, pbx=pbx)


def _line(text: str) -> Response:
    return Response(as_line(text), content_type=LINE)
