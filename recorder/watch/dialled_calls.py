"""The progress of the calls that we dial: from the events of a PBX into the rows of the dials.

A dialled call has a row before it has a channel. Once its channel appears, the call model takes the
dialled number from that row, because the agent's channel does not know it before it is answered.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection

from recorder import ari, names
from recorder.calls.model import CallModel
from recorder.dialling.outcome import Outcome, cause_of, observe, state_of
from storage.catalogue import calls, dials
from storage.records import CallRecord, DialRecord, DialState

log = structlog.get_logger()


class DialWatch:
    """The dialled calls of one PBX that the call model follows."""

    def __init__(self, model: CallModel) -> None:
        self._model = model
        self._dials: dict[str, DialRecord] = {}  # call id → the dial, as we wrote it last
        self._outcomes: dict[str, Outcome] = {}

    def restore(self, tx: Connection, live: Collection[CallRecord]) -> Iterator[CallRecord]:
        """Add these live calls to the model, and yield those that it now has.

        A dialled call without a channel waits for its channel, or for `Dialler.check`.
        """
        found = dials.map_dials_of_calls(tx, [one.id for one in live if one.trigger is not None])
        for record in live:
            dial = found.get(record.id)
            if dial is not None and not record.channels:
                continue
            self._model.restore(record)
            if dial is not None:
                self._follow(record, dial)
            yield record

    def adopt(self, tx: Connection, call_ids: Collection[str]) -> Mapping[str, CallRecord]:
        """Follow those of these new calls of the model that were dialled; return their rows."""
        found, known = dials.map_dials_of_calls(tx, call_ids), calls.find_calls(tx, call_ids)
        adopted = {id_: known[id_] for id_ in found if id_ in known}
        for id_, record in adopted.items():
            self._follow(record, found[id_])
        return adopted

    def observe(self, event: ari.Event) -> None:
        """Note an event of a channel, before the call model applies it."""
        match event:
            case ari.Dial(caller=caller, peer=peer):
                channel_id = caller.id if caller is not None else peer.id
            case ari.ChannelDestroyed(channel=channel) | ari.ChannelStateChange(channel=channel):
                channel_id = channel.id
            case _:
                return
        call_id = self._model.find_call_of(channel_id)
        if call_id is not None and (phone := _person_of(call_id)) is not None:
            self._outcomes[call_id] = observe(self._outcomes.get(call_id, Outcome()), event, phone)

    def save(self, tx: Connection, changed: Iterable[CallRecord]) -> tuple[str, ...]:
        """Write the progress of these calls; return channels that are to be hung up.

        Somebody has cancelled their dial meanwhile, or its process had given it up.
        """
        unwanted: list[str] = []
        for call in changed:
            if call.trigger is None:
                continue
            dial, outcome = self._dials.get(call.id), self._outcomes.get(call.id, Outcome())
            if dial is None:
                continue
            outcome = _with_known(outcome, dial, call)
            state = state_of(outcome, call)
            if state not in ("requested", dial.state):
                dial = self._dials[call.id] = _move(tx, dial, state, outcome, call)
            if dial.state == "ended" and call.state != "ended":
                unwanted.append(names.build_person_id(dial.id))
        return tuple(unwanted)

    def forget(self, call_id: str) -> None:
        """Drop an ended call."""
        self._dials.pop(call_id, None)
        self._outcomes.pop(call_id, None)

    def _follow(self, record: CallRecord, dial: DialRecord) -> None:
        self._dials[record.id] = dial
        if record.callee_number is not None:
            self._model.set_dialled(record.id, record.callee_number)


def _with_known(outcome: Outcome, dial: DialRecord, call: CallRecord) -> Outcome:
    """Return the outcome with the answer of the phone, also where no event reported it."""
    phone = names.build_person_id(dial.id)
    states = {leg.state for leg in call.channels if leg.id == phone}
    answered_at = outcome.answered_at or dial.answered_at
    if "Up" in states:
        answered_at = answered_at or call.changed_at
    rang = outcome.rang or "Ringing" in states or answered_at is not None
    return replace(outcome, rang=rang, answered_at=answered_at)


def _move(
    tx: Connection, dial: DialRecord, state: DialState, outcome: Outcome, call: CallRecord
) -> DialRecord:
    """Move a dial forward, and return it as it is now."""
    times: dict[str, Any] = {"answered_at": outcome.answered_at, "talked_at": call.talked_at}
    if state != "ended":
        moved = dials.move_dial(tx, dial.id, to=state, **times)
    else:
        cause = cause_of(outcome, call)
        moved = dials.move_dial(tx, dial.id, to=state, cause=cause, ended_at=call.ended_at, **times)
        if moved is not None:
            log.info("call.dial-ended", call=call.id, cause=cause)
    return moved or dials.find_dial(tx, dial.id) or dial


def is_of_person(call_id: str) -> bool:
    """Whether the call began with a person whom we called."""
    return _person_of(call_id) is not None


def _person_of(call_id: str) -> str | None:
    """Return the id of the channel of the person whom we called; None for any other call."""
    _, _, linkedid = call_id.partition("-")
    return linkedid if names.parse_person_id(linkedid) is not None else None
