"""Spies at the PBX: start, switch, end; and keep them true to their state.

As with recordings, everything here needs ARI's REST interface and the catalogue alone, so any
process may do it: the API for a person, the watcher for an event, the media server for a page. A
change is written down first, then `settle` brings the PBX to it. What is left over at the PBX, by
whatever death, is removed by `sweep`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from recorder import names
from recorder.ari import (
    Ari,
    AriBadRequest,
    AriConflict,
    AriNotFound,
    AriServerError,
    Bridge,
    Channel,
)
from recorder.ari.pbxs import Pbxs
from recorder.calls.legs import is_over
from recorder.errors import CallEnded, ModeNotPermitted, PbxUnavailable, SpyEnded
from recorder.recording.capture import Capture
from recorder.recording.voices import BROWSER, hears_call, voice_channel
from recorder.spy.destination import refuse_destination, refuse_trunk
from recorder.spy.plan import (
    END_KEY,
    KEYS,
    SpyPlan,
    end_cause,
    find_target,
    is_settled,
    may_need_others,
    place,
    plan_spy,
    takes_seat,
)
from recorder.spy.rig import Rig
from recorder.spy.trail import note
from storage import states
from storage.catalogue import calls, recordings, spies
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, Follow, Mode, SpyRecord

log = structlog.get_logger()

RINGS_S = 30
# How long after its start a spy may have nothing on the PBX: its process has died in between.
STARTS_WITHIN = timedelta(seconds=10)
# How long a page may be away, and how long it may take to come at all.
PAGE_AWAY = timedelta(seconds=30)
PAGE_COMES_WITHIN = timedelta(seconds=60)
# While it is connected, a page is noted every 5 s.
PAGE_IS_HERE = timedelta(seconds=12)


class Spies:
    """What can be done with spies.

    `trunks` are, for each PBX, patterns of endpoints that no supervisor is rung at.

    Raises NoSuchCall, NoSuchSpy, CallEnded, SpyEnded, BadDestination, ModeNotPermitted, and
    PbxUnavailable where the PBX does not answer or is not configured in this process.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pbxs: Pbxs,
        trunks: Mapping[str, Collection[str]],
    ) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._trunks = trunks
        self._capture = Capture(catalogue, pbxs)

    # What a person asks for

    def start(
        self,
        call_id: str,
        *,
        mode: Mode,
        destination: str,
        follow: Follow,
        may: Sequence[Mode],
        by: str,
        audio_token: str | None = None,
    ) -> SpyRecord:
        """Ring the supervisor's phone, or wait for the page.

        A phone that cannot be rung ends the spy, and its record says why.
        """
        refuse_destination(destination)
        with self._catalogue.begin() as tx:
            call = calls.get_call(tx, call_id)
            if is_over(call):
                raise CallEnded(f"call {call_id} has ended")
            refuse_trunk(destination, self._trunks.get(call.pbx, ()))
            if mode not in may:
                raise ModeNotPermitted(f"{by} may not {mode}")
            spy = _new_spy(
                call, mode=mode, destination=destination, follow=follow, may=tuple(may), by=by
            )
            spies.create_spy(tx, spy, audio_token=audio_token)
            note(tx, by, "spy.start", spy)
        log.info("spy.requested", spy=str(spy.id), call=call_id, mode=mode, by=by)
        if destination == BROWSER:
            return spy
        with self._catalogue.lock(f"spy {spy.id}"):
            return self._ring(spy)

    def switch(self, spy_id: UUID, mode: Mode, *, by: str) -> SpyRecord:
        """Change the mode; a repeat is harmless."""
        with self._catalogue.begin() as tx:
            spy = spies.get_spy(tx, spy_id)
            if mode not in spy.may:
                raise ModeNotPermitted(f"{by} may not {mode}")
            if spies.set_mode(tx, spy_id, mode) is None:
                raise SpyEnded(f"spy {spy_id} has ended")
            note(tx, by, "spy.switch", spy, mode=mode)
        log.info("spy.switched", spy=str(spy_id), mode=mode, by=by)
        return self.settle(spy_id)

    def end(self, spy_id: UUID, *, cause: str = "ended", by: str) -> SpyRecord:
        """End the spy; a repeat is harmless."""
        with self._catalogue.begin() as tx:
            before = spies.get_spy(tx, spy_id)
            ended_at = _ended_at(before, cause)
            moved = spies.move_spy(tx, spy_id, to="ended", ended_at=ended_at, cause=cause)
            if moved is not None:
                note(tx, by, "spy.end", moved, cause=cause)
        if moved is None:
            return before
        log.info("spy.ended", spy=str(spy_id), cause=cause, by=by)
        return self.settle(spy_id)

    def take_down(self, spy_ids: Iterable[UUID]) -> None:
        """Bring the PBX to the end of these; what it cannot be brought to now the watcher does."""
        for spy_id in spy_ids:
            with _postponed(spy_id):
                self.settle(spy_id)

    # What pages do

    def page_joined(self, spy_id: UUID) -> SpyRecord:
        """The page is connected; its ear, where there is something to hear, is made already."""
        with self._catalogue.begin() as tx:
            spies.touch_spy(tx, spy_id, datetime.now(UTC))
        return self.settle(spy_id)

    def page_left(self, spy_id: UUID) -> None:
        """The page is gone; it may come back for half a minute."""
        with self._catalogue.begin() as tx:
            spies.close_heard(tx, spy_id, at=datetime.now(UTC))

    def read(self, spy_id: UUID) -> tuple[SpyRecord, SpyPlan]:
        """Return the spy and its present plan."""
        with self._catalogue.begin() as tx:
            spy = spies.get_spy(tx, spy_id)
            call = calls.get_call(tx, spy.call_id)
            needs_others = spy.state in states.SPY_LIVE and may_need_others(spy, call)
            others = calls.list_live_calls(tx, pbx=spy.pbx) if needs_others else ()
            return spy, plan_spy(spy, call, others)

    def renew(self, spy_id: UUID) -> None:
        """Listen through a new snoop: the delay of one only grows, a new one has none."""
        spy, plan = self.read(spy_id)
        target = plan.target
        if target is None or spy.state not in states.SPY_LIVE:
            return
        with self._pbxs.reach(spy.pbx) as ari, self._catalogue.lock(f"listen {spy.pbx}"):
            Rig(ari).deafen(target)
        with self._catalogue.begin() as tx:
            others = spies.list_spies_of_calls(tx, [spy.call_id])
        self.settle(spy_id)  # which takes all snoops of spies off the target
        for other in others:
            if other.id != spy_id:
                self.settle(other.id)

    # What the watcher hears of

    def phone_ended(self, spy_id: UUID, q850: int) -> None:
        """The supervisor's phone hung up, or was never answered."""
        with self._catalogue.begin() as tx:
            spy = spies.find_spy(tx, spy_id)
        if spy is not None:
            cause = end_cause(spy.state, q850)
            self.end(spy_id, cause=cause, by=spy.supervisor)

    def key_pressed(self, spy_id: UUID, key: str) -> None:
        """A key on the supervisor's phone switches the mode, where the supervisor may, or ends."""
        with self._catalogue.begin() as tx:
            spy = spies.find_spy(tx, spy_id)
        if spy is None or spy.state != "live":
            return
        if key == END_KEY:
            self.end(spy_id, by=spy.supervisor)
        elif key in KEYS and KEYS[key] in spy.may:
            self.switch(spy_id, KEYS[key], by=spy.supervisor)
        elif key in KEYS:
            with self._catalogue.begin() as tx:
                note(tx, spy.supervisor, "spy.switch", spy, outcome="refused", mode=KEYS[key])

    def lose(self, pbx: str) -> None:
        """The PBX was started anew: nothing of any spy is left on it."""
        for spy in self._live(pbx):
            self.end(spy.id, cause="pbx-lost", by="watch")

    def settle(self, spy_id: UUID) -> SpyRecord:
        """Bring the PBX to what the spy's state says. Harmless to repeat."""
        with self._catalogue.lock(f"spy {spy_id}"):
            spy, plan = self.read(spy_id)
            if spy.follow == "agent" and spy.agent is None:
                spy, plan = self._meet_agent(spy)
            if plan.cause is not None and spy.state in states.SPY_LIVE:
                spy = self._end_by_itself(spy, plan.cause)
            with self._pbxs.reach(spy.pbx) as ari:
                if spy.state == "ended":
                    self._dismantle(ari, spy)
                else:
                    self._attach(ari, spy, plan)
            spy = self.read(spy_id)[0]
        self._settle_recordings(spy)
        return spy

    # The steps

    def _meet_agent(self, spy: SpyRecord) -> tuple[SpyRecord, SpyPlan]:
        """Follow the agent who has taken the call since the spy was asked for, if one has."""
        with self._catalogue.begin() as tx:
            agent = calls.get_call(tx, spy.call_id).agent
            if agent is not None:
                spies.set_agent(tx, spy.id, agent)
        return self.read(spy.id)

    def _ring(self, spy: SpyRecord) -> SpyRecord:
        phone = names.build_phone_id(spy.id)
        try:
            with self._pbxs.reach(spy.pbx) as ari:
                try:
                    ari.originate(spy.destination, channel_id=phone, timeout_s=RINGS_S)
                except (AriBadRequest, AriConflict, AriNotFound, AriServerError) as error:
                    log.warning("spy.not-rung", spy=str(spy.id), error=str(error))
                    return self._end_by_itself(spy, "no-such-destination")
        except PbxUnavailable:
            self._end_by_itself(spy, "pbx-unreachable")
            raise
        with self._catalogue.begin() as tx:
            moved = spies.move_spy(tx, spy.id, to="ringing")
            return moved or spies.get_spy(tx, spy.id)

    def _attach(self, ari: Ari, spy: SpyRecord, plan: SpyPlan) -> None:
        if not self._is_listening(ari, spy):
            return
        if plan.call_id != spy.call_id:
            with self._catalogue.begin() as tx:
                spies.set_call(tx, spy.id, plan.call_id)
            log.info("spy.moved", spy=str(spy.id), call=plan.call_id)
        try:
            heard = self._rig_up(ari, spy, plan)
        except (AriNotFound, AriBadRequest, AriConflict) as error:  # it went under our hands
            log.info("spy.postponed", spy=str(spy.id), error=str(error))
            heard = False
        if not heard and plan.target is not None:
            Rig(ari).leave(place(spy), keep=plan.target)
        self._note_live(spy, plan, heard=heard)
        if heard and spy.destination == BROWSER:
            self._measure(ari, spy, plan)

    def _measure(self, ari: Ari, spy: SpyRecord, plan: SpyPlan) -> None:
        """Let the page see how loud each side is, if it wants to; a fault here costs no sound."""
        try:
            with self._catalogue.lock(f"listen {spy.pbx}"):
                Rig(ari).gauge(str(plan.target))
        except (AriNotFound, AriBadRequest, AriConflict) as error:  # it went under our hands
            log.info("spy.not-measured", spy=str(spy.id), error=str(error))

    def _is_listening(self, ari: Ari, spy: SpyRecord) -> bool:
        """Whether somebody is there: the phone is answered, or the page connected."""
        if spy.destination == BROWSER:
            return spy.seen_at is not None
        phone = ari.find_channel(names.build_phone_id(spy.id))
        return phone is not None and phone.state == "Up"

    def _rig_up(self, ari: Ari, spy: SpyRecord, plan: SpyPlan) -> bool:
        """Let the supervisor hear and be heard as planned; whether anything is heard.

        Whoever is not to hear the supervisor any more does not wait until all else is done.
        """
        rig, is_phone = Rig(ari), spy.destination != BROWSER
        rig.hush(spy, keep=plan.says)
        if plan.target is None:
            rig.silence(spy)
            rig.leave(place(spy))
            self._drop_unheard(ari, spy.pbx)
            return False
        if not is_phone and ari.find_channel(names.build_listening_channel_id(plan.target)) is None:
            return False
        ear = place(spy) if is_phone else names.build_listening_channel_id(plan.target)
        if hears_call(spy):  # then it is a switch, and that is quick
            self._speak(ari, spy, plan)
        with self._catalogue.lock(f"listen {spy.pbx}"):
            changed = rig.listen(
                plan.target,
                ear,
                company=plan.company,
                audible=spy.mode == "barge",
                is_phone=is_phone,
            )
            if takes_seat(spy) and ari.find_channel(place(spy)) is not None:
                rig.seat(plan.target, place(spy))
        # Another listener's new snoop takes away who says something to the target, ours too.
        if changed or plan.says or not hears_call(spy):
            self._speak(ari, spy, plan)
        if changed and hears_call(spy):  # it may have moved, and left what is of no use to anybody
            self._drop_unheard(ari, spy.pbx)
        return True

    def _speak(self, ari: Ari, spy: SpyRecord, plan: SpyPlan) -> None:
        """Bring the voice to whom it is for; a page has to open its microphone first."""
        is_page = spy.destination == BROWSER
        can_speak = ari.find_channel(voice_channel(spy)) is not None if is_page else _may_speak(spy)
        if can_speak:
            Rig(ari).speak(spy, voice_channel(spy), plan.says)

    def _note_live(self, spy: SpyRecord, plan: SpyPlan, *, heard: bool) -> None:
        """The supervisor is there, and hears something or nothing from now on."""
        now = datetime.now(UTC)
        away = spy.destination == BROWSER and not _is_here(spy, now)
        with self._catalogue.begin() as tx:
            if spies.move_spy(tx, spy.id, to="live", live_at=now) is not None:
                log.info("spy.live", spy=str(spy.id))
            if heard and not away:
                spies.open_heard(tx, spy.id, at=now, call_id=plan.call_id)
            else:
                spies.close_heard(tx, spy.id, at=now)

    def _dismantle(self, ari: Ari, spy: SpyRecord) -> None:
        Rig(ari).silence(spy)
        ari.hang_up(place(spy))
        ari.hang_up(names.build_microphone_id(spy.id))
        self._drop_unheard(ari, spy.pbx)

    def _end_by_itself(self, spy: SpyRecord, cause: str) -> SpyRecord:
        with self._catalogue.begin() as tx:
            moved = spies.move_spy(
                tx, spy.id, to="ended", ended_at=_ended_at(spy, cause), cause=cause
            )
            if moved is not None:
                log.info("spy.ended", spy=str(spy.id), cause=cause)
                note(tx, "watch", "spy.end", moved, cause=cause)
            return moved or spies.get_spy(tx, spy.id)

    def _settle_recordings(self, spy: SpyRecord) -> None:
        """Who barges is recorded, and no longer when it is over."""
        with self._catalogue.begin() as tx:
            live = recordings.list_recordings_of_calls(tx, [spy.call_id], in_states=states.LIVE)
        for recording in live:
            try:
                self._capture.settle(recording.id)
            except PbxUnavailable as error:
                log.warning("recording.postponed", recording=str(recording.id), error=str(error))

    # What is left over

    def check(self, pbx: str) -> None:
        """Every live spy must be what it should be, and nothing else of spies on the PBX."""
        with self._pbxs.reach(pbx) as ari:
            bridges = {one.id: frozenset(one.channel_ids) for one in ari.list_bridges()}
        for spy in self._live(pbx):
            with _postponed(spy.id):
                self._check_one(spy, bridges)
        self.sweep(pbx)

    def _check_one(self, spy: SpyRecord, bridges: Mapping[str, frozenset[str]]) -> None:
        cause = self._find_loss(spy, datetime.now(UTC))
        if cause is not None:
            self.end(spy.id, cause=cause, by="watch")
        elif not is_settled(*self.read(spy.id), bridges):
            self.settle(spy.id)

    def _find_loss(self, spy: SpyRecord, now: datetime) -> str | None:
        """Why nobody listens any more, though no event said so; None if somebody does."""
        if spy.destination == BROWSER:
            return _page_loss(spy, now)
        if now - spy.started_at < STARTS_WITHIN:
            return None
        with self._pbxs.reach(spy.pbx) as ari:
            if ari.find_channel(names.build_phone_id(spy.id)) is not None:
                return None
        return {"live": "hung-up", "ringing": "no-answer"}.get(spy.state, "never-rang")

    def sweep(self, pbx: str) -> None:
        """Remove channels and bridges of spies that no live spy needs."""
        with self._pbxs.reach(pbx) as ari, self._catalogue.lock(f"listen {pbx}"):
            bridges, channels = _list_ours(ari)
            needed = self._needed(pbx)  # after the lists: a spy is written down first
            for channel in channels:
                if _is_left_over(channel.id, needed):
                    log.info("spy.orphan-removed", pbx=pbx, channel=channel.id)
                    ari.hang_up(channel.id)
            for bridge in bridges:
                if _is_left_over(bridge.id, needed):
                    log.info("spy.orphan-removed", pbx=pbx, bridge=bridge.id)
                    ari.destroy_bridge(bridge.id)

    def _drop_unheard(self, ari: Ari, pbx: str) -> None:
        """Take down the listen bridges to which nobody listens any more."""
        with self._catalogue.lock(f"listen {pbx}"):
            bridges = ari.list_bridges()  # never all channels: there may be thousands
            needed = self._needed(pbx)
            for bridge in bridges:
                target = _listened_to(bridge)
                if target is not None and target not in needed and _is_ours(ari, bridge):
                    Rig(ari).drop(target)

    def _needed(self, pbx: str) -> frozenset[str]:
        """The ids of live spies, and of the channels that they listen to."""
        needed: set[str] = set()
        for spy in self._live(pbx):
            needed.add(str(spy.id))
            target = self.read(spy.id)[1].target
            if target is not None:
                needed.add(target)
        return frozenset(needed)

    # Helpers

    def _live(self, pbx: str) -> tuple[SpyRecord, ...]:
        with self._catalogue.begin() as tx:
            return spies.list_live_spies(tx, pbx)


@contextmanager
def _postponed(spy_id: UUID) -> Iterator[None]:
    """What the PBX cannot be brought to now is done by the next check, and hinders no other spy."""
    try:
        yield
    except PbxUnavailable as error:
        log.warning("spy.postponed", spy=str(spy_id), error=str(error))


def _new_spy(
    call: CallRecord,
    *,
    mode: Mode,
    destination: str,
    follow: Follow,
    may: tuple[Mode, ...],
    by: str,
) -> SpyRecord:
    target = find_target(call)
    return SpyRecord(
        id=uuid7(),
        call_id=call.id,
        pbx=call.pbx,
        mode=mode,
        destination=destination,
        state="requested",
        supervisor=by,
        follow=follow,
        started_at=datetime.now(UTC),
        may=may,
        agent=call.agent,
        channel_id=target.id if target is not None else None,
    )


def _ended_at(spy: SpyRecord, cause: str) -> datetime:
    """A page that was lost heard nothing after it was last seen."""
    if cause == "page-lost" and spy.seen_at is not None:
        return spy.seen_at
    return datetime.now(UTC)


def _may_speak(spy: SpyRecord) -> bool:
    return any(mode != "listen" for mode in spy.may)


def _is_here(spy: SpyRecord, now: datetime) -> bool:
    return spy.seen_at is not None and now - spy.seen_at < PAGE_IS_HERE


def _page_loss(spy: SpyRecord, now: datetime) -> str | None:
    if spy.seen_at is None:
        return "never-opened" if now - spy.started_at > PAGE_COMES_WITHIN else None
    return "page-lost" if now - spy.seen_at > PAGE_AWAY else None


def _list_ours(ari: Ari) -> tuple[list[Bridge], list[Channel]]:
    """Bridges and channels, but for those of another program's spies: `doctor --media`, say.

    A channel's dialplan tells which Stasis application it is in, and "" before it enters one.
    """
    bridges, channels = ari.list_bridges(), ari.list_channels(prefix=names.OURS)
    theirs = {one.id for one in channels if _is_theirs(one, ari.application)}
    return (
        [one for one in bridges if theirs.isdisjoint(one.channel_ids)],
        [one for one in channels if one.id not in theirs],
    )


def _is_ours(ari: Ari, bridge: Bridge) -> bool:
    """The same of one bridge, without the list of all channels."""
    found = (ari.find_channel(id_) for id_ in bridge.channel_ids)
    return not any(one is not None and _is_theirs(one, ari.application) for one in found)


def _is_theirs(channel: Channel, application: str) -> bool:
    entered = channel.dialplan.app_name == "Stasis"
    return entered and channel.dialplan.app_data.split(",")[0] != application


def _listened_to(bridge: Bridge) -> str | None:
    """The channel that is listened to in the bridge; None if it is no listen bridge."""
    part = names.parse_spy_part(bridge.id)
    return part.channel_id if part is not None and part.kind == "listening-bridge" else None


def _is_left_over(id_: str, needed: frozenset[str]) -> bool:
    return names.parse_spy_part(id_) is not None and not _is_needed(id_, needed)


def _is_needed(id_: str, needed: frozenset[str]) -> bool:
    part = names.parse_spy_part(id_)
    if part is None:
        return False
    return (str(part.spy_id) if part.spy_id is not None else part.channel_id) in needed
