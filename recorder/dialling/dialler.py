"""Click to dial: ring an agent's phone, then let the dialplan dial the number.

    row of the dial and of its call ──▶ originate PJSIP/2001 ──▶ the agent answers
                                        ──▶ the agent's channel runs NUMBER@dial_context

From there on it is a call of the dialplan like any other: it goes on if all our processes die. The
id of the channel is chosen before the PBX is asked, and gives the call its id. Every process may
dial; the watcher writes the progress, and `check` ends the rows that a dead process left behind.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder import names
from recorder.ari import AriBadRequest, AriConflict, AriNotFound, AriServerError
from recorder.ari.pbxs import Pbxs
from recorder.dialling.numbers import DialPolicy, check_allowed, format_number, parse_number
from recorder.dialling.phones import NOT_FORWARDED, build_phone, find_phone, parse_phone
from recorder.errors import (
    BadDestination,
    CannotDial,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
)
from recorder.recording.terms import DIALLED
from storage.actors import WATCH
from storage.catalogue import audit, calls, dials, do_not_call, terms
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import find_rights
from storage.errors import IdempotencyKeyReused
from storage.permissions import CALLS_DIAL
from storage.records import Actor, CallRecord, DialCause, DialFormat, DialRecord, RuleTerms

log = structlog.get_logger()

# The PBX has answered a request to ring within this time, or the process that asked has died.
ASKED_WITHIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class DialSettings:
    """The way in which one PBX dials out; `trunks` are patterns of the endpoints of customers."""

    context: str = ""
    dial_format: DialFormat = "e164"
    region: str = "US"
    trunks: tuple[str, ...] = ()
    ring_s: int = 30


@dataclass(frozen=True, slots=True)
class DialRequest:
    """A wish to dial: `phone` rings first, for example `PJSIP/2001`; `number` is as people write.

    `record` wants the call recorded, `announce` is a sound for the customer before the recording.
    A second request with the same `key` gets the dial of the first one, and nothing rings again.
    `id` is the id of the dial, for a caller that must know it before anything rings.
    """

    pbx: str
    phone: str
    number: str
    record: bool | None = None
    announce: str | None = None
    callback_id: UUID | None = None
    campaign_id: UUID | None = None
    entry_id: UUID | None = None
    allowed_by: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    id: UUID | None = None


class Dialler:
    """Dials on all PBXs that have a dial context in `settings`, within the limits of `policy`."""

    def __init__(
        self,
        catalogue: Catalogue,
        pbxs: Pbxs,
        settings: Mapping[str, DialSettings],
        policy: DialPolicy,
    ) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._settings = settings
        self._policy = policy

    def list_pbxs(self) -> tuple[str, ...]:
        """Return the names of the PBXs that dial."""
        return tuple(sorted(one for one, how in self._settings.items() if how.context))

    def choose_pbx(self, name: str | None) -> str:
        """Return the PBX of this name, or the only one that dials. Raises CannotDial."""
        if name is not None:
            if name not in self._settings:
                raise CannotDial(f"there is no PBX {name}")
            return name
        dialling = self.list_pbxs()
        if not dialling:
            raise CannotDial("no PBX dials: the key dial_context of [[pbx]] is not set")
        if len(dialling) > 1:
            raise CannotDial(f"name the PBX that dials, one of {', '.join(dialling)}")
        return dialling[0]

    def check_number(self, pbx: str, number: str) -> tuple[str, Mapping[str, str]]:
        """Return a number in E.164, and the rule that allows it.

        Raises CannotDial, NotANumber, NumberRefused.
        """
        how = self._settings.get(pbx, DialSettings())
        if not how.context:
            raise CannotDial(f"PBX {pbx}: the key dial_context of [[pbx]] is not set")
        parsed = parse_number(number, how.region)
        return parsed, check_allowed(parsed, self._policy)

    def dial(
        self,
        request: DialRequest,
        *,
        by: Actor,
        owner_id: UUID | None,
        claim: Callable[[Connection, DialRecord], None] | None = None,
    ) -> DialRecord:
        """Ring the phone; once it is answered, the PBX dials the number.

        A phone that cannot be rung ends the dial; the returned record has the cause. `owner_id` is
        the token or session that asks, None for a caller that has checked its own rights. The right
        is asked twice, as for a spy: before the PBX looks for the phone, and in the transaction
        that writes the dial. `claim` is called in that transaction: a call-back or a campaign moves
        its row there, and its error cancels the dial.

        Raises CannotDial, NotANumber, NumberRefused, BadDestination, PhoneNotPermitted, PhoneBusy,
        PbxUnavailable, IdempotencyKeyReused.
        """
        number, allowed_by = self.check_number(request.pbx, request.number)
        technology, resource = parse_phone(request.phone)
        with self._catalogue.begin() as tx:
            self._admit(tx, resource, owner_id, by=by)
            earlier = _find_earlier(tx, request, number)
        if earlier is not None:
            return earlier
        phone, is_free = self._find_phone(request.pbx, technology, resource)
        record = _build_record(request, phone, number, allowed_by, by=by, owner_id=owner_id)
        with self._catalogue.begin() as tx:
            self._admit(tx, phone.partition("/")[2], owner_id, by=by, lock=True)
            if not is_free or not dials.create_dial(tx, record):
                earlier = _find_earlier(tx, request, number)
                if earlier is not None:
                    return earlier
                raise PhoneBusy(f"{phone} is in a call, or rings for another one")
            refuse_listed(tx, number)
            if claim is not None:
                claim(tx, record)
            self._write_call(tx, record, request)
            _note(tx, by, "call.dial", record)
        log.info("call.dialled", call=record.call_id, phone=phone, by=by.name)
        return self._ring(record)

    def hang_up(self, dial_id: UUID, *, by: Actor = WATCH) -> DialRecord:
        """Hang up the phone that dials, and the number with it; harmless to repeat.

        A call whose agent has handed the customer over goes on. Raises NoSuchDial, PbxUnavailable.
        """
        with self._catalogue.begin() as tx:
            calls.lock_call(tx, dials.get_dial(tx, dial_id).call_id)
            record = dials.get_dial(tx, dial_id)
            if record.state == "ended":
                return record
            _note(tx, by, "call.hang-up", record)
            if record.state != "up":
                record = self._end(tx, record, "cancelled") or record
        with self._pbxs.reach(record.pbx) as ari:
            ari.hang_up(names.build_person_id(dial_id))
        return record

    def check(self, pbx: str) -> None:
        """End the dials of this PBX that have no channel: a process died before it could ring."""
        with self._catalogue.begin() as tx:
            live = dials.list_live_dials(tx, pbx)
            known = calls.find_calls(tx, [one.call_id for one in live])
        for record in live:
            call = known.get(record.call_id)
            is_followed = call is not None and bool(call.channels)  # by the watcher
            if call is not None and call.state == "ended":
                with self._catalogue.begin() as tx:
                    self._end(tx, record, "ended" if call.talked_at else "pbx-lost")
            elif not is_followed and datetime.now(UTC) - record.requested_at > ASKED_WITHIN:
                self._end_unless_rung(record)

    # Parts of a dial

    def _admit(
        self, tx: Connection, agent: str, owner_id: UUID | None, *, by: Actor, lock: bool = False
    ) -> None:
        """Raise PhoneNotPermitted unless the owner may dial from the phone of this agent now.

        With `lock` the owner stays until the end of the transaction.
        """
        if owner_id is None:
            return
        owner = find_rights(tx, owner_id, lock=lock)
        if owner is None or not owner.may(CALLS_DIAL):
            raise PhoneNotPermitted(f"{by.name} may not dial any more")
        if not owner.sees(agent):
            raise PhoneNotPermitted(f"{by.name} may not dial from the phone {agent}")

    def _find_phone(self, pbx: str, technology: str, resource: str) -> tuple[str, bool]:
        """Return the dial string of a phone, and whether it is in no call."""
        with self._pbxs.reach(pbx) as ari:
            endpoint = find_phone(ari, technology, resource, self._settings[pbx].trunks)
        if endpoint is None:
            raise BadDestination(f"this PBX has no phone {technology}/{resource}")
        return build_phone(endpoint), not endpoint.channel_ids

    def _write_call(self, tx: Connection, record: DialRecord, request: DialRequest) -> None:
        """Write the call, which has no channel yet, and its terms of recording."""
        how = self._settings[record.pbx]
        call = CallRecord(
            id=record.call_id,
            pbx=record.pbx,
            state="ringing",
            direction="outbound",
            started_at=record.requested_at,
            caller_number=record.agent,
            callee_number=format_number(record.number, how.dial_format, how.region),
            agent=record.agent,
            changed_at=record.requested_at,
            trigger="dialled",
        )
        calls.save_calls(tx, [call], before={})
        if request.record:
            wanted = RuleTerms(name="dialled call", action="record", announcement=request.announce)
            terms.set_terms(tx, record.call_id, DIALLED, wanted)

    def _ring(self, record: DialRecord) -> DialRecord:
        how = self._settings[record.pbx]
        number = format_number(record.number, how.dial_format, how.region)
        try:
            with self._pbxs.reach(record.pbx) as ari:
                try:
                    ari.originate(
                        record.phone,
                        channel_id=names.build_person_id(record.id),
                        context=how.context,
                        exten=number,
                        timeout_s=how.ring_s,
                        variables=_variables(record, number),
                    )
                except (AriBadRequest, AriConflict, AriNotFound, AriServerError) as error:
                    log.warning("call.not-dialled", call=record.call_id, error=str(error))
                    return self._give_up(record, "agent-unreachable")
                if self._has_ended(record):  # somebody has hung up before the phone rang
                    ari.hang_up(names.build_person_id(record.id))
        except PbxUnavailable:
            with suppress(PbxUnavailable), self._pbxs.reach(record.pbx) as ari:
                ari.hang_up(names.build_person_id(record.id))  # only the answer may be lost
            self._give_up(record, "pbx-unreachable")
            raise
        return record

    def _has_ended(self, record: DialRecord) -> bool:
        with self._catalogue.begin() as tx:
            return dials.get_dial(tx, record.id).state == "ended"

    def _give_up(self, record: DialRecord, cause: DialCause) -> DialRecord:
        with self._catalogue.begin() as tx:
            ended = self._end(tx, record, cause)
            dials.free_key(tx, record.id)
            return ended or dials.get_dial(tx, record.id)

    def _end(self, tx: Connection, record: DialRecord, cause: DialCause) -> DialRecord | None:
        """End a dial, and its call if no channel of it was ever seen."""
        calls.lock_call(tx, record.call_id)
        ended = dials.move_dial(tx, record.id, to="ended", cause=cause)
        if ended is not None:
            calls.end_unseen_call(tx, record.call_id, ended.ended_at or datetime.now(UTC))
            log.info("call.dial-ended", call=record.call_id, cause=cause)
        return ended

    def _end_unless_rung(self, record: DialRecord) -> None:
        with self._pbxs.reach(record.pbx) as ari:
            if ari.find_channel(names.build_person_id(record.id)) is not None:
                return
        with self._catalogue.begin() as tx:
            self._end(tx, record, "pbx-unreachable")


def refuse_listed(tx: Connection, number: str) -> None:
    """Raise NumberRefused if this number in E.164 is on the do-not-call list."""
    if do_not_call.find(tx, [number]):
        raise NumberRefused(f"{number} is on the do-not-call list", rule="do-not-call")


def _build_record(
    request: DialRequest,
    phone: str,
    number: str,
    allowed_by: Mapping[str, Any],
    *,
    by: Actor,
    owner_id: UUID | None,
) -> DialRecord:
    """Return the row of a new dial; its id gives the ids of the channel and of the call."""
    dial_id = request.id or uuid7()
    return DialRecord(
        id=dial_id,
        call_id=names.build_call_id(request.pbx, names.build_person_id(dial_id)),
        pbx=request.pbx,
        phone=phone,
        number=number,
        state="requested",
        created_by=by.name,
        requested_at=datetime.now(UTC),
        agent=phone.partition("/")[2],
        owner_id=owner_id,
        callback_id=request.callback_id,
        campaign_id=request.campaign_id,
        entry_id=request.entry_id,
        allowed_by={**allowed_by, **request.allowed_by},
        key=request.key,
    )


def _find_earlier(tx: Connection, request: DialRequest, number: str) -> DialRecord | None:
    """Return the dial of an earlier request with this key. Raises IdempotencyKeyReused."""
    earlier = dials.find_dial_by_key(tx, request.key) if request.key is not None else None
    if earlier is not None and (earlier.number, earlier.pbx) != (number, request.pbx):
        raise IdempotencyKeyReused("this key was used to dial another number")
    return earlier


def _variables(record: DialRecord, number: str) -> Mapping[str, str]:
    """Return the channel variables of the agent's phone.

    The phone shows the connected line: the customer. The caller of the channel is the agent, and
    the dialplan replaces it by the number of the house, so the customer never sees his own number.
    """
    return {
        **NOT_FORWARDED,
        "CONNECTEDLINE(name,i)": names.CLICK_TO_DIAL,
        "CONNECTEDLINE(num,i)": number,
        "CALLERID(num)": record.agent or "",
    }


def _note(tx: Connection, by: Actor, action: str, record: DialRecord) -> None:
    """Write into the audit trail who dialled, or hung up, which number."""
    detail = {"from": record.phone, "to": record.number, "pbx": record.pbx}
    audit.add_audit(
        tx, actor=by, action=action, subject=record.call_id, outcome="done", detail=detail
    )
