"""Call-backs: a person asks for a call at a time, and the agent's phone rings then.

    POST /callbacks ──▶ row, job at its time ──▶ step: may we call him now? ──▶ Dialler.dial
                                 ▲                                                   │
                                 └─────────── plan of the next attempt ◀── dial ends ┘

Every step is safe to repeat, to race and to kill. The row moves from `waiting` to `dialling` in the
transaction that writes the dial, so an attempt rings at most once. A lost job is found by `sweep`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder.dialling.callback_plan import End, Wait, plan_after, plan_again, plan_at
from recorder.dialling.dialler import Dialler, DialRequest, refuse_listed
from recorder.dialling.hours import choose_zones, describe_permission, next_open
from recorder.dialling.numbers import parse_number, zones_of
from recorder.dialling.phones import parse_phone
from recorder.errors import (
    NotANumber,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
)
from storage.actors import WORK, dialplan_actor
from storage.catalogue import audit, callbacks, dials, do_not_call
from storage.catalogue.callbacks import InboundCall
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights, find_actor, find_rights
from storage.errors import CatalogueUnavailable, EarwitnessError
from storage.permissions import CALLS_DIAL
from storage.records import Actor, CallbackRecord, DialRecord, Hours, Outcome

log = structlog.get_logger()

# A step decides anew if the world changes while it looks for the phone.
TRIES = 3
# Nobody remembers an older promise.
LONGEST_WAIT = timedelta(days=366)
# A job that is later than this is lost, or waits in its queue; another one does no harm.
LATE_AFTER = timedelta(seconds=10)
# The clock of a worker may be behind that of PostgreSQL, which starts the job.
CLOCKS_DIFFER_BY = timedelta(seconds=2)

AGENT_BUSY = "agent-busy"
CALLED_IN = "called-in"
BY_PERSON = "by-person"
DO_NOT_CALL = "do-not-call"
IN_CALL = "in-call"
NOT_PERMITTED = "not-permitted"


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """The hours and waits of call-backs that name none, and the region of each PBX."""

    hours: Hours
    retry_after_s: tuple[int, ...]
    regions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """A call-back that a person wants; `number` is as people write it, `at` None is now.

    `id` is the id of the call-back, for a caller that must know it before its first event.
    """

    pbx: str
    phone: str
    number: str
    at: datetime | None = None
    hours: Hours | None = None
    retry_after_s: tuple[int, ...] | None = None
    name: str | None = None
    note: str | None = None
    call_id: str | None = None
    id: UUID | None = None


class _Changed(Exception):
    """The call-back may not be dialled any more; the transaction of the dial is rolled back."""


class Callbacks:
    """The call-backs of all PBXs.

    `owner_id` is the person or token that wants the call; its right is asked again at every
    attempt. None is a program on the PBX.
    """

    def __init__(self, catalogue: Catalogue, dialler: Dialler, settings: CallbackSettings) -> None:
        self._catalogue = catalogue
        self._dialler = dialler
        self._settings = settings

    @property
    def hours(self) -> Hours:
        """The hours of the configuration, which no call-back may exceed."""
        return self._settings.hours

    def parse(self, number: str, pbx: str | None = None) -> str:
        """Return a number in E.164, read in the region of this PBX, or of the first one.

        Raises NotANumber, and NumberRefused for a short number.
        """
        return parse_number(number, self._region_of(pbx))

    def zones_of(self, record: CallbackRecord) -> tuple[str, ...]:
        """Return the time zones in which the hours of a call-back hold."""
        return self._zones_of(record.number, record.pbx)

    def find_opening(
        self, number: str, pbx: str | None = None
    ) -> tuple[tuple[str, ...], datetime | None, bool]:
        """Return the zones of a number in E.164, the next open time, and whether that is now."""
        zones, now = self._zones_of(number, pbx), datetime.now(UTC)
        opens_at = next_open(self._settings.hours, zones, now)
        return zones, opens_at, opens_at == now

    # Commands of a person

    def make(self, request: CallbackRequest, *, by: Actor, owner_id: UUID | None) -> CallbackRecord:
        """Promise a call. Its `next_at` is the first time from `at` on within the hours.

        Raises CannotDial, NotANumber, BadDestination, PhoneNotPermitted, and NumberRefused: for a
        refused prefix, for a number on the do-not-call list, for a time after more than a year, and
        for hours that never suit all time zones of the number.
        """
        number, _ = self._dialler.check_number(request.pbx, request.number)
        _, agent = parse_phone(request.phone)
        now = datetime.now(UTC)
        if request.at is not None and request.at > now + LONGEST_WAIT:
            raise NumberRefused("a call-back is promised for a year at most", rule="too-late")
        wanted = CallbackRecord(
            id=request.id or uuid7(),
            pbx=request.pbx,
            phone=request.phone,
            agent=agent,
            number=number,
            state="waiting",
            at=max(request.at or now, now),
            hours=request.hours or self._settings.hours,
            retry_after_s=(
                self._settings.retry_after_s
                if request.retry_after_s is None
                else request.retry_after_s
            ),
            created_at=now,
            created_by=by.name,
            name=request.name,
            note=request.note,
            call_id=request.call_id,
            owner_id=owner_id,
        )
        first = plan_at(wanted, self.zones_of(wanted), wanted.at)
        if isinstance(first, End):
            raise NumberRefused(
                f"no time within these hours suits all time zones of {number}",
                rule=str(first.cause),
            )
        record = replace(wanted, due_at=first.due_at, next_at=first.next_at, cause=first.cause)
        with self._catalogue.begin() as tx:
            if not is_permitted(find_rights(tx, owner_id, lock=True), record):
                raise PhoneNotPermitted(f"{by.name} may not dial from the phone {agent}")
            refuse_listed(tx, number)
            callbacks.create_callback(tx, record)
            _note(tx, by, "callback.create", record)
        log.info("callback.made", callback=str(record.id), next_at=str(record.next_at), by=by.name)
        return record

    def cancel(self, callback_id: UUID, *, by: Actor) -> CallbackRecord:
        """Cancel a call-back, and hang up the phones that it rings; a talk goes on.

        One that is over does not change. Raises NoSuchCallback.
        """
        with self._catalogue.begin() as tx:
            callbacks.lock_callback(tx, callback_id)
            before = callbacks.get_callback(tx, callback_id)
            record = self._apply(tx, before, End("cancelled", BY_PERSON)) or before
            if record is not before:
                _note(tx, by, "callback.cancel", record)
            dial = _last_dial(tx, callback_id)
        if dial is not None and dial.state not in ("up", "ended"):
            try:
                self._dialler.hang_up(dial.id, by=by)
            except PbxUnavailable as error:
                log.warning("callback.not-hung-up", callback=str(callback_id), error=str(error))
        return record

    # Steps of a job

    def step(self, callback_id: UUID) -> None:
        """Dial a call-back that is due, or plan the next attempt after a dial has ended.

        Raises CatalogueUnavailable.
        """
        for _ in range(TRIES):
            with self._catalogue.begin() as tx:
                record = callbacks.lock_callback(tx, callback_id)
                if record is None or not self._settle(tx, record):
                    return
            try:
                self._dial(record)
            except _Changed:
                continue
            return

    def sweep(self) -> None:
        """Find call-backs whose job was lost, and customers who have called in meanwhile.

        Raises CatalogueUnavailable.
        """
        late_before = datetime.now(UTC) - LATE_AFTER
        with self._catalogue.begin() as tx:
            live = callbacks.list_live_callbacks(tx)
            for one in live:
                is_late = one.next_at is not None and one.next_at < late_before
                if is_late and (one.state == "waiting" or not _is_dialling(tx, one)):
                    callbacks.resume_callback(tx, one.id)
            waiting = [one for one in live if one.state == "waiting"]
            talks = self._map_talks(tx, waiting)
        for one in waiting:
            if any(at >= one.created_at for at in talks.get(one.number, ())):
                with self._catalogue.begin() as tx:
                    found = callbacks.lock_callback(tx, one.id)
                    if found is not None and found.state == "waiting":
                        self._apply(tx, found, End("cancelled", CALLED_IN))

    def fail(self, callback_id: UUID, reason: str) -> None:
        """End a call-back whose step failed too often by a fault of ours."""
        with self._catalogue.begin() as tx:
            record = callbacks.lock_callback(tx, callback_id)
            if record is not None:
                self._apply(tx, record, End("failed", reason))

    def _settle(self, tx: Connection, record: CallbackRecord) -> bool:
        """Bring a locked call-back to its next state; return whether it has to be dialled now."""
        now = datetime.now(UTC)
        if record.state == "dialling":
            dial = _last_dial(tx, record.id)
            if dial is None or dial.state == "ended":
                self._apply(tx, record, self._plan_after(record, dial, now))
            return False
        next_at = record.next_at or now
        if record.state != "waiting" or next_at > now + CLOCKS_DIFFER_BY:
            return False
        step = self._find_obstacle(tx, record)
        if step is not None:
            self._apply(tx, record, step)
        return step is None

    def _plan_after(
        self, record: CallbackRecord, dial: DialRecord | None, now: datetime
    ) -> Wait | End:
        zones = self.zones_of(record)
        if dial is None:
            return plan_again(record, zones, now, "pbx-lost")
        return plan_after(record, dial, zones, now)

    def _find_obstacle(
        self, tx: Connection, record: CallbackRecord, *, dial: DialRecord | None = None
    ) -> Wait | End | None:
        """Return what happens to a call-back that is due, instead of this new dial of it.

        None: the number may be dialled.
        """
        if not is_permitted(find_rights(tx, record.owner_id), record):
            return End("cancelled", NOT_PERMITTED)
        if do_not_call.find(tx, [record.number]):
            return End("cancelled", DO_NOT_CALL)
        now = max(datetime.now(UTC), record.next_at or record.at)
        zones = self.zones_of(record)
        inbound = callbacks.list_inbound_calls(tx, [record.number], record.created_at)
        mine = [one for one in inbound if self._number_of(one) == record.number]
        if any(one.talked_at is not None and one.talked_at >= record.created_at for one in mine):
            return End("cancelled", CALLED_IN)
        besides = dial.id if dial is not None else None
        if mine or dials.is_dialled(tx, record.number, besides=besides):
            return plan_again(record, zones, now, IN_CALL)
        planned = plan_at(record, zones, now)
        is_open = isinstance(planned, Wait) and planned.next_at == now
        return None if is_open else planned

    def _dial(self, record: CallbackRecord) -> None:
        """Dial a call-back that is due. Raises _Changed if it may not be dialled any more."""
        request = DialRequest(
            record.pbx,
            record.phone,
            record.number,
            callback_id=record.id,
            allowed_by=describe_permission(
                record.hours,
                self.zones_of(record),
                datetime.now(UTC),
                attempts=record.attempts,
                waits=record.retry_after_s,
            ),
        )
        claim = partial(self._claim, record)
        try:
            with self._catalogue.begin() as tx:
                by = _actor_of(tx, record)
            self._dialler.dial(request, by=by, owner_id=None, claim=claim)
        except CatalogueUnavailable:
            raise
        except PhoneBusy:
            self._plan_again(record, AGENT_BUSY)
        except PbxUnavailable:
            self._plan_again(record, "pbx-unreachable")
        except EarwitnessError as error:
            log.warning("callback.not-dialled", callback=str(record.id), error=str(error))
            with self._catalogue.begin() as tx:
                self._if_same(tx, record, End("failed", error.error_id))

    def _claim(self, record: CallbackRecord, tx: Connection, dial: DialRecord) -> None:
        """Take the call-back in the transaction that writes its dial. Raises _Changed."""
        present = callbacks.lock_callback(tx, record.id)
        is_same = present is not None and _attempt_of(present) == _attempt_of(record)
        if present is None or not is_same or self._find_obstacle(tx, present, dial=dial):
            raise _Changed
        callbacks.move_callback(tx, record.id, to="dialling", cause=None)

    def _plan_again(self, record: CallbackRecord, cause: str) -> None:
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            self._if_same(tx, record, plan_again(record, self.zones_of(record), now, cause))

    def _if_same(self, tx: Connection, record: CallbackRecord, step: Wait | End) -> None:
        """Apply a step unless another process has changed the call-back since we read it."""
        present = callbacks.lock_callback(tx, record.id)
        if present is not None and _attempt_of(present) == _attempt_of(record):
            self._apply(tx, present, step)

    def _apply(
        self, tx: Connection, record: CallbackRecord, step: Wait | End
    ) -> CallbackRecord | None:
        """Write the next state of a locked call-back; return None if it is over already."""
        if isinstance(step, Wait):
            moved = callbacks.move_callback(
                tx,
                record.id,
                to="waiting",
                next_at=step.next_at,
                due_at=step.due_at,
                attempts=step.attempts,
                cause=step.cause,
            )
        else:
            attempts = record.attempts if step.attempts is None else step.attempts
            moved = callbacks.move_callback(
                tx,
                record.id,
                to=step.state,
                cause=step.cause,
                attempts=attempts,
                next_at=None,
                ended_at=datetime.now(UTC),
            )
        if moved is None:
            return None
        if moved.cause in (NOT_PERMITTED, DO_NOT_CALL):
            _note(tx, _actor_of(tx, moved), "callback.dial", moved, "refused")
        log.info("callback.moved", callback=str(moved.id), state=moved.state, cause=moved.cause)
        return moved

    def _zones_of(self, number: str, pbx: str | None) -> tuple[str, ...]:
        return choose_zones(zones_of(number), self._region_of(pbx))

    def _region_of(self, pbx: str | None) -> str:
        """Return the region of this PBX, or of the first one."""
        regions = self._settings.regions
        return regions.get(pbx or "", next(iter(regions.values()), ""))

    def _number_of(self, call: InboundCall) -> str | None:
        """Return the caller's number in E.164; None for an unknown one."""
        try:
            return parse_number(call.caller_number, self._settings.regions.get(call.pbx, ""))
        except (NotANumber, NumberRefused):
            return None

    def _map_talks(
        self, tx: Connection, waiting: Sequence[CallbackRecord]
    ) -> Mapping[str, Collection[datetime]]:
        """Return the times at which the customers of call-backs began to talk, by number."""
        found: dict[str, list[datetime]] = {}
        if waiting:
            since = min(one.created_at for one in waiting)
            for call in callbacks.list_inbound_calls(tx, [one.number for one in waiting], since):
                number = self._number_of(call)
                if number is not None and call.talked_at is not None:
                    found.setdefault(number, []).append(call.talked_at)
        return found


def _attempt_of(record: CallbackRecord) -> tuple[Any, ...]:
    """Return the values that name one attempt: they change with every step."""
    return record.state, record.attempts, record.next_at


def _last_dial(tx: Connection, callback_id: UUID) -> DialRecord | None:
    return next(iter(dials.list_dials(tx, callback_id=callback_id, limit=1)), None)


def _is_dialling(tx: Connection, record: CallbackRecord) -> bool:
    dial = _last_dial(tx, record.id)
    return dial is not None and dial.state != "ended"


def _actor_of(tx: Connection, record: CallbackRecord) -> Actor:
    """Return the one who asked for the call-back; a program of the PBX shows no token."""
    if record.owner_id is None:
        return dialplan_actor(record.pbx)
    return find_actor(tx, record.owner_id, otherwise=WORK)


def is_permitted(rights: Rights | None, record: CallbackRecord) -> bool:
    """Whether the owner of these rights may dial from the phone of the call-back's agent.

    A program of the PBX owns no rights, and may.
    """
    if record.owner_id is None:
        return True
    return rights is not None and rights.may(CALLS_DIAL) and rights.sees(record.agent)


def _note(
    tx: Connection, by: Actor, action: str, record: CallbackRecord, outcome: Outcome = "done"
) -> None:
    """Write into the audit trail who did this to the call-back, or was refused."""
    detail = {"from": record.phone, "to": record.number, "at": record.at.isoformat()}
    if outcome == "refused":
        detail |= {"error_id": record.cause or "", "created_by": record.created_by}
    audit.add_audit(
        tx, actor=by, action=action, subject=str(record.id), outcome=outcome, detail=detail
    )
