"""Spies: start, switch and end them, and keep the PBX as their rows say.

Everything here needs ARI's REST interface and the catalogue alone, as with recordings. So every
process may call it: the API for a person, the watcher for an event, the media server for a page. A
change is written to the row first; `settle` then brings the PBX to the row. After a process died,
`check` removes its leftovers.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder import names
from recorder.ari import Ari, AriBadRequest, AriConflict, AriNotFound, AriServerError
from recorder.ari.pbxs import Pbxs
from recorder.calls.legs import is_over
from recorder.dialling.phones import build_phone, find_phone
from recorder.errors import (
    CallEnded,
    ModeNotPermitted,
    PbxUnavailable,
    SpyEnded,
)
from recorder.recording.capture import Capture
from recorder.recording.gate import Gate
from recorder.recording.voices import BROWSER, hears_call
from recorder.spy.destination import (
    STAYS_HERE,
    parse_destination,
    refuse_party,
)
from recorder.spy.intruders import Intruder, expel, list_intruders
from recorder.spy.leftovers import Leftovers
from recorder.spy.listeners import Listener, listener_of
from recorder.spy.plan import (
    END_KEY,
    KEYS,
    SpyPlan,
    end_cause,
    find_present_call,
    find_target,
    is_settled,
    plan_spy,
)
from recorder.spy.rig import Rig
from recorder.spy.rights import modes_of_spy, modes_on
from recorder.spy.settling import Settler
from recorder.spy.trail import note
from storage import states
from storage.actors import WATCH
from storage.catalogue import audit, calls, pauses, spies
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import find_actor, find_rights
from storage.errors import LockTimeout
from storage.records import Actor, AfterTransfer, CallRecord, Follow, Mode, SpyRecord

log = structlog.get_logger()

RINGS_S = 30
# A settling spy waits for the listening bridges while others wait for the spy: so the spy's lock
# has the longer deadline. The next check settles a spy whose lock was not free in time.
SPY_LOCK_WITHIN_S = 20.0
LISTEN_LOCK_WITHIN_S = 10.0
SETTLED_AT_ONCE = 8


class Spies:
    """The spies of all PBXs.

    `trunks` lists for each PBX the patterns of endpoints that lead out of the house: no supervisor
    is rung there. With `deaf_in_pauses`, supervisors in listen and whisper hear nothing of a call
    while it is paused. `after_transfer` says what becomes of a spy whose call goes to an agent
    whom its owner may not hear. A spy settles the recordings that hear its supervisor: `gate` is
    theirs.

    Raises NoSuchCall, NoSuchSpy, CallEnded, SpyEnded, BadDestination, PhoneInCall,
    ModeNotPermitted, and PbxUnavailable where the PBX does not answer or is not configured in this
    process.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pbxs: Pbxs,
        trunks: Mapping[str, Collection[str]],
        *,
        deaf_in_pauses: bool = True,
        after_transfer: AfterTransfer = "end",
        gate: Gate | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._trunks = trunks
        self._deaf_in_pauses = deaf_in_pauses
        self._after_transfer = after_transfer
        self._capture = Capture(catalogue, pbxs, gate=gate)

    # Commands of a person

    def start(
        self,
        call_id: str,
        *,
        mode: Mode,
        destination: str,
        follow: Follow,
        owner_id: UUID,
        by: Actor,
        audio_token: str | None = None,
    ) -> SpyRecord:
        """Ring the supervisor's phone, or wait for the page.

        A phone that cannot be rung ends the spy; the returned record has the cause. `owner_id` is
        the token or session that asks. Its right is asked twice: before the PBX looks for the
        phone, and in the transaction that writes the spy. That one keeps the owner from being
        removed, so the removal finds this spy and ends it.
        """
        with self._catalogue.begin() as tx:
            call, _, _ = self._admit(tx, call_id, owner_id, mode, by=by)
        wanted = parse_destination(destination)
        found = self._find_phone(call.pbx, *wanted) if wanted is not None else destination
        with self._catalogue.begin() as tx:
            call, may, maker_id = self._admit(tx, call_id, owner_id, mode, by=by, lock=True)
            conversation = calls.list_joined(tx, call_id).values()
            if wanted is not None:
                refuse_party(*wanted, conversation)
            target = find_target(call, conversation)
            spy = SpyRecord(
                id=uuid7(),
                call_id=call.id,
                pbx=call.pbx,
                mode=mode,
                destination=found or destination,
                state="requested",
                supervisor=by.name,
                follow=follow,
                started_at=datetime.now(UTC),
                may=may,
                agent=call.agent,
                channel_id=target.id if target is not None else None,
                owner_id=owner_id,
                maker_id=maker_id,
            )
            spies.create_spy(tx, spy, audio_token=audio_token)
            note(tx, by, "spy.start", spy)
        log.info("spy.requested", spy=str(spy.id), call=call_id, mode=mode, by=by.name)
        if destination == BROWSER:
            return spy
        if found is None:
            return self._end_by_itself(spy, "no-such-destination")
        with self._catalogue.lock(f"spy {spy.id}", wait_s=SPY_LOCK_WITHIN_S):
            return self._ring(spy)

    def switch(self, spy_id: UUID, mode: Mode, *, by: Actor) -> SpyRecord:
        """Change the mode, if the owner of the spy may use it now; harmless to repeat."""
        with self._catalogue.begin() as tx:
            spy = spies.get_spy(tx, spy_id)
            if spy.state in states.SPY_LIVE and mode not in self._modes_now(tx, spy, spy.call_id):
                raise ModeNotPermitted(f"{by.name} may not {mode}")
            if spies.set_mode(tx, spy_id, mode) is None:
                raise SpyEnded(f"spy {spy_id} has ended")
            note(tx, by, "spy.switch", spy, mode=mode)
        log.info("spy.switched", spy=str(spy_id), mode=mode, by=by.name)
        return self.settle(spy_id)

    def end(self, spy_id: UUID, *, cause: str = "ended", by: Actor) -> SpyRecord:
        """End the spy; harmless to repeat.

        A lost page heard nothing after it was last seen: the spy ends at that time.
        """
        with self._catalogue.begin() as tx:
            before = spies.get_spy(tx, spy_id)
            now, seen_at = datetime.now(UTC), before.seen_at
            ended_at = seen_at if cause == "page-lost" and seen_at is not None else now
            moved = spies.move_spy(tx, spy_id, to="ended", ended_at=ended_at, cause=cause)
            if moved is not None:
                note(tx, by, "spy.end", moved, cause=cause)
        if moved is None:
            return before
        log.info("spy.ended", spy=str(spy_id), cause=cause, by=by.name)
        return self.settle(spy_id)

    def take_down(self, spy_ids: Iterable[UUID]) -> None:
        """Settle these ended spies; where a PBX does not answer, the watcher settles them later."""
        for spy_id in spy_ids:
            self._try_to_settle(spy_id)

    # Events of a page

    def page_joined(self, spy_id: UUID) -> SpyRecord:
        """Settle the PBX for a connected page, which has opened its listening channel."""
        with self._catalogue.begin() as tx:
            spies.touch_spy(tx, spy_id, datetime.now(UTC))
        return self.settle(spy_id)

    def page_left(self, spy_id: UUID) -> None:
        """Close the span heard by a page that is gone; for half a minute it may come back."""
        with self._catalogue.begin() as tx:
            spies.close_heard(tx, spy_id, at=datetime.now(UTC))

    def read(self, spy_id: UUID) -> tuple[SpyRecord, SpyPlan]:
        """Return a spy and its present plan. Raises NoSuchSpy."""
        with self._catalogue.begin() as tx:
            spy = spies.get_spy(tx, spy_id)
            call = calls.get_call(tx, spy.call_id)
            others = _list_others(tx, spy, call) if spy.state in states.SPY_LIVE else ()
            paused = {leg for one in pauses.list_open_pauses(tx, spy.pbx) for leg in one.legs}
            return spy, plan_spy(spy, call, others, paused if self._deaf_in_pauses else ())

    def list_lapsed(self, spy_ids: Iterable[UUID]) -> frozenset[UUID]:
        """Return those of these spies whose mode their owner may not use now.

        The next `settle` ends them, or lets them only listen.
        """
        with self._catalogue.begin() as tx:
            found = [spies.get_spy(tx, spy_id) for spy_id in spy_ids]
            live = [one for one in found if one.state in states.SPY_LIVE]
            lapsed = (one for one in live if one.mode not in self._modes_now(tx, one, one.call_id))
            return frozenset(one.id for one in lapsed)

    def renew(self, spy_id: UUID) -> None:
        """Replace the listening snoop of the target, because the delay of a snoop only grows."""
        spy, plan = self.read(spy_id)
        if plan.target is None or plan.deaf or spy.state not in states.SPY_LIVE:
            return
        with self._pbxs.reach(spy.pbx) as ari, self._lock_listening(spy.pbx):
            Rig(ari).deafen(plan.target)
        self.settle(spy_id)  # this also removes the talking snoops of the others from the target
        for other in self._list_live(spy.pbx):
            if other.id != spy_id and self.read(other.id)[1].target == plan.target:
                self.settle(other.id)

    # Events of a PBX

    def phone_ended(self, spy_id: UUID, q850: int) -> None:
        """End the spy of a phone that hung up or was never answered."""
        with self._catalogue.begin() as tx:
            spy = spies.find_spy(tx, spy_id)
        if spy is not None:
            cause = end_cause(spy.state, q850)
            self.end(spy_id, cause=cause, by=self._find_supervisor(spy))

    def phone_replaced(self, pbx: str, intruder: Intruder) -> None:
        """End the spy whose phone was transferred, and hang up all that took the phone's place.

        The caller has hung up the intruder itself. Write it into the audit trail.
        """
        with self._catalogue.begin() as tx:
            spy = spies.find_spy(tx, intruder.spy_id) if intruder.spy_id is not None else None
            if spy is not None:
                by = find_actor(tx, spy.owner_id, otherwise=WATCH)
                note(tx, by, "spy.transfer", spy, "refused", channel=intruder.name)
            else:
                audit.add_audit(
                    tx,
                    actor=WATCH,
                    action="spy.transfer",
                    subject=intruder.channel_id,
                    outcome="refused",
                    detail={"pbx": pbx, "channel": intruder.name},
                )
        id_ = str(spy.id) if spy is not None else None
        log.warning("spy.transferred", spy=id_, pbx=pbx, channel=intruder.channel_id)
        with self._pbxs.reach(pbx) as ari:
            expel(ari, intruder)
        if spy is not None:
            self.end(spy.id, cause="transferred", by=by)

    def key_pressed(self, spy_id: UUID, key: str) -> None:
        """Switch the mode if the supervisor may, or end the spy, as a key of its phone says."""
        with self._catalogue.begin() as tx:
            spy = spies.find_spy(tx, spy_id)
        if spy is None or spy.state != "live":
            return
        by = self._find_supervisor(spy)
        if key == END_KEY:
            self.end(spy_id, by=by)
        elif key in KEYS:
            try:
                self.switch(spy_id, KEYS[key], by=by)
            except ModeNotPermitted:
                with self._catalogue.begin() as tx:
                    note(tx, by, "spy.switch", spy, outcome="refused", mode=KEYS[key])

    def lose(self, pbx: str) -> None:
        """End the spies of a PBX that has restarted: their channels are gone."""
        for spy in self._list_live(pbx):
            self.end(spy.id, cause="pbx-lost", by=WATCH)

    # Settling

    def follow_pauses(self, pbx: str) -> None:
        """Settle the spies that a pause makes deaf, and those that hear again after it.

        Call it after each pause and each end of one; the next check repeats it.
        """
        changed = []
        for spy, plan in (self.read(one.id) for one in self._list_live(pbx)):
            is_ready = spy.state == "live" and plan.target is not None
            if is_ready and plan.deaf is hears_call(spy):
                changed.append(spy.id)
        if changed:  # all at once: nobody waits for the tone of another
            with ThreadPoolExecutor(min(len(changed), SETTLED_AT_ONCE)) as threads:
                list(threads.map(self._try_to_settle, changed))

    def settle(self, spy_id: UUID) -> SpyRecord:
        """Bring the PBX to the spy's row, and return the row; harmless to repeat.

        If the mode changed meanwhile, or a pause, settle again: the PBX is at the mode that is
        returned, and nobody goes on hearing a pause that began while the spy was connected.
        """
        with self._catalogue.lock(f"spy {spy_id}", wait_s=SPY_LOCK_WITHIN_S):
            while True:
                settled, done = self._settle_once(spy_id)
                spy, plan = self.read(spy_id)
                is_same = (spy.mode, plan.deaf) == (settled.mode, done.deaf)
                if is_same or spy.state not in states.SPY_LIVE:
                    break
        # A barging supervisor is recorded, and no longer once the barge is over.
        for recording in self._capture.list_heard(spy.call_id):
            try:
                self._capture.settle(recording.id)
            except (PbxUnavailable, LockTimeout) as error:
                log.warning("recording.postponed", recording=str(recording.id), error=str(error))
        return spy

    def check(self, pbx: str) -> bool:
        """Settle every live spy that is not as planned, then remove leftovers from the PBX.

        First hang up all foreign channels in the bridges of spies. Return whether there were any:
        then check again, because a channel may outlive its hangup.
        """
        with self._pbxs.reach(pbx) as ari:
            intruders = list_intruders(ari)
        for intruder in intruders:
            self.phone_replaced(pbx, intruder)
        with self._pbxs.reach(pbx) as ari:
            instance = ari.application
            bridges = {one.id: frozenset(one.channel_ids) for one in ari.list_bridges()}
        for spy in self._list_live(pbx):
            with _postponed(spy.id):
                with self._pbxs.reach(pbx) as ari:
                    cause = listener_of(spy).find_loss(ari.find_channel, datetime.now(UTC))
                if cause is not None:
                    self.end(spy.id, cause=cause, by=WATCH)
                elif not self._is_settled(spy.id, instance, bridges):
                    self.settle(spy.id)
        with self._pbxs.reach(pbx) as ari:
            self._leftovers(ari, pbx).sweep()
        return bool(intruders)

    def _is_settled(
        self, spy_id: UUID, instance: str, bridges: Mapping[str, frozenset[str]]
    ) -> bool:
        """Whether the PBX is as planned, and the owner of the spy may still do as much."""
        spy, plan = self.read(spy_id)
        with self._catalogue.begin() as tx:
            may = self._modes_now(tx, spy, plan.call_id)
        return may == spy.may and spy.mode in may and is_settled(instance, spy, plan, bridges)

    def _try_to_settle(self, spy_id: UUID) -> None:
        with _postponed(spy_id):
            self.settle(spy_id)

    def _settle_once(self, spy_id: UUID) -> tuple[SpyRecord, SpyPlan]:
        """Bring the PBX to the spy's row once; return the row and the plan that it follows."""
        spy, plan = self.read(spy_id)
        if spy.follow == "agent" and spy.agent is None:  # an agent may have answered since
            with self._catalogue.begin() as tx:
                agent = calls.get_call(tx, spy.call_id).agent
                if agent is not None:
                    spies.set_agent(tx, spy_id, agent)
            spy, plan = self.read(spy_id)
        if spy.state in states.SPY_LIVE and plan.cause is None:
            if self._apply_rights(spy, plan) != spy:
                spy, plan = self.read(spy_id)
        elif spy.state in states.SPY_LIVE:
            spy = self._end_by_itself(spy, str(plan.cause))
        with self._pbxs.reach(spy.pbx) as ari:
            listener = listener_of(spy)
            lock = partial(self._lock_listening, spy.pbx)
            find_heard = partial(self._find_heard, spy.pbx)
            settler = Settler(ari, lock, self._leftovers(ari, spy.pbx), find_heard)
            if spy.state not in states.SPY_LIVE:
                settler.disconnect(listener)
            elif listener.is_present(ari.find_channel):
                if plan.call_id != spy.call_id:
                    with self._catalogue.begin() as tx:
                        spies.set_call(tx, spy.id, plan.call_id)
                    log.info("spy.moved", spy=str(spy.id), call=plan.call_id)
                heard = settler.connect(listener, plan)
                self._write_live(listener, plan, heard=heard)
                if heard and listener.has_meters:
                    settler.measure(listener, str(plan.target))
        return spy, plan

    def _write_live(self, listener: Listener, plan: SpyPlan, *, heard: bool) -> None:
        """Write that the supervisor is there, and whether a span of hearing is open now."""
        spy, now = listener.spy, datetime.now(UTC)
        with self._catalogue.begin() as tx:
            if spies.move_spy(tx, spy.id, to="live", live_at=now) is not None:
                log.info("spy.connected", spy=str(spy.id))
            if heard and listener.hears_at(now):
                spies.open_heard(tx, spy.id, at=now, call_id=plan.call_id)
            else:
                spies.close_heard(tx, spy.id, at=now)

    def _ring(self, spy: SpyRecord) -> SpyRecord:
        phone = names.build_phone_id(spy.id)
        try:
            with self._pbxs.reach(spy.pbx) as ari:
                try:
                    ari.originate(
                        spy.destination,
                        channel_id=phone,
                        app_args=[phone],
                        timeout_s=RINGS_S,
                        variables=STAYS_HERE,
                    )
                except (AriBadRequest, AriConflict, AriNotFound, AriServerError) as error:
                    log.warning("spy.rejected", spy=str(spy.id), error=str(error))
                    return self._end_by_itself(spy, "unreachable")
        except PbxUnavailable:
            self._end_by_itself(spy, "pbx-unreachable")
            raise
        with self._catalogue.begin() as tx:
            moved = spies.move_spy(tx, spy.id, to="ringing")
            return moved or spies.get_spy(tx, spy.id)

    def _end_by_itself(self, spy: SpyRecord, cause: str) -> SpyRecord:
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            moved = spies.move_spy(tx, spy.id, to="ended", ended_at=now, cause=cause)
            if moved is not None:
                log.info("spy.ended", spy=str(spy.id), cause=cause)
                note(tx, WATCH, "spy.end", moved, cause=cause)
            return moved or spies.get_spy(tx, spy.id)

    # Rights

    def _find_supervisor(self, spy: SpyRecord) -> Actor:
        """Return the supervisor as the audit trail names a person or a token."""
        with self._catalogue.begin() as tx:
            return find_actor(tx, spy.owner_id, otherwise=WATCH)

    def _admit(
        self,
        tx: Connection,
        call_id: str,
        owner_id: UUID,
        mode: Mode,
        *,
        by: Actor,
        lock: bool = False,
    ) -> tuple[CallRecord, tuple[Mode, ...], UUID]:
        """Return the call, the modes that the owner may use on it, and the person's or token's id.

        Refuse any other mode. With `lock` the owner stays until the end of the transaction.
        """
        rights = find_rights(tx, owner_id, lock=lock)
        if rights is None:
            raise ModeNotPermitted(f"{by.name} may not {mode} any more")
        call = calls.get_call(tx, call_id, agents=rights.agents)
        may = modes_on(rights, call.agent)
        if mode not in may:
            raise ModeNotPermitted(f"{by.name} may not {mode}")
        if is_over(call):
            raise CallEnded(f"call {call_id} has ended")
        return call, may, rights.id

    def _modes_now(self, tx: Connection, spy: SpyRecord, call_id: str) -> tuple[Mode, ...]:
        """Return the modes that the owner of the spy may use on this call now."""
        rights = find_rights(tx, spy.owner_id)
        call = calls.get_call(tx, call_id)
        return modes_of_spy(spy, call, rights, after_transfer=self._after_transfer)

    def _apply_rights(self, spy: SpyRecord, plan: SpyPlan) -> SpyRecord:
        """End the spy, or let it only listen, where its owner has lost the right to more."""
        with self._catalogue.begin() as tx:
            may = self._modes_now(tx, spy, plan.call_id)
            if spy.mode in may or "listen" in may:
                if may != spy.may:
                    spies.set_may(tx, spy.id, may)
                if spy.mode not in may:
                    spies.set_mode(tx, spy.id, "listen")
                    note(tx, WATCH, "spy.switch", spy, mode="listen")
                    log.info("spy.switched", spy=str(spy.id), mode="listen", by=WATCH.name)
                return spies.get_spy(tx, spy.id)
        return self._end_by_itself(spy, "not-permitted")

    # Parts of one PBX

    def _find_phone(self, pbx: str, technology: str, resource: str) -> str | None:
        """Return the dial string of a phone, in the words of the PBX; None if it has no such phone.

        Raises BadDestination for a trunk, and for a technology of which the PBX has no endpoint.
        """
        with self._pbxs.reach(pbx) as ari:
            endpoint = find_phone(ari, technology, resource, self._trunks.get(pbx, ()))
        return build_phone(endpoint) if endpoint is not None else None

    def _lock_listening(self, pbx: str) -> AbstractContextManager[None]:
        """Keep other processes from changing the listening bridges of a PBX."""
        return self._catalogue.lock(f"listen {pbx}", wait_s=LISTEN_LOCK_WITHIN_S)

    def _leftovers(self, ari: Ari, pbx: str) -> Leftovers:
        def find_needed() -> frozenset[str]:
            live = self._list_live(pbx)
            targets = (self.read(spy.id)[1].target for spy in live)
            return frozenset([*(str(spy.id) for spy in live), *filter(None, targets)])

        def find_known(spy_ids: Collection[UUID]) -> frozenset[UUID]:
            with self._catalogue.begin() as tx:
                return spies.find_known(tx, spy_ids)

        return Leftovers(ari, partial(self._lock_listening, pbx), find_needed, find_known)

    def _find_heard(self, pbx: str) -> frozenset[str]:
        """Return the channels that supervisors hear who are not deaf."""
        plans = [self.read(spy.id)[1] for spy in self._list_live(pbx)]
        return frozenset(plan.target for plan in plans if plan.target and not plan.deaf)

    def _list_live(self, pbx: str) -> tuple[SpyRecord, ...]:
        with self._catalogue.begin() as tx:
            return spies.list_live_spies(tx, pbx)


def _list_others(tx: Connection, spy: SpyRecord, call: CallRecord) -> Collection[CallRecord]:
    """Return the calls that the plan of a spy needs beside the spy's own."""
    others = calls.list_joined(tx, call.id)
    if spy.follow == "agent" and spy.agent is not None:
        for one in calls.list_calls_of_agent(tx, spy.pbx, spy.agent):
            if one.id not in others:
                others |= calls.list_joined(tx, one.id)
    elif find_present_call(spy, call, ()) is None:
        moved = find_present_call(spy, call, calls.list_live_calls(tx, pbx=spy.pbx))
        if moved is not None:
            others |= calls.list_joined(tx, moved.id)
    return others.values()


@contextmanager
def _postponed(spy_id: UUID) -> Iterator[None]:
    """Log why this spy must wait and go on with the next: the next check repeats the work."""
    try:
        yield
    except (PbxUnavailable, LockTimeout) as error:
        log.warning("spy.postponed", spy=str(spy_id), error=str(error))
