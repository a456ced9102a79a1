"""The watcher of one PBX: events in, calls into the catalogue, recordings and spies kept true.

    events ──▶ call model ──▶ catalogue
                   └──▶ lanes: settle each recording and spy of a changed call; begin what must be

One process watches a PBX at a time, by a lock in PostgreSQL; a second one stands by. Whatever was
missed — our restart, the PBX's, a lost connection — is found by listing what the PBX has.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID
from zlib import crc32

import structlog

from recorder import ari, names
from recorder.ari import Ari, AriError
from recorder.calls.model import HELPERS, CallModel, belongs_to_call
from recorder.recording.capture import Capture
from recorder.recording.decisions import Decisions
from recorder.recording.demand import COMMANDS, Command, KeyFunction, OnDemand
from recorder.recording.dtmf import KeySequences
from recorder.recording.plan import plan_capture
from recorder.recording.sounds import Sounds
from recorder.recording.voices import voice_channels
from recorder.rules.book import RuleBook
from recorder.spy.plan import follows
from recorder.spy.spies import Spies
from recorder.watch.user_events import telling
from storage import states
from storage.catalogue import calls, pbxs, recordings, segments, spies
from storage.catalogue.engine import Catalogue, Lock
from storage.catalogue.recordings import PEOPLE
from storage.errors import EarwitnessError
from storage.records import CallRecord, PbxRecord, PbxState, RecordingRecord

log = structlog.get_logger()

TICK_S = 1.0
CHECK_S = 5.0
# What a call's end brings along is known by then.
ASSURED_AFTER = timedelta(seconds=2)
BATCH = 1000
LANES = 8
MOST_RECORDINGS = 50_000  # whose calls are remembered
LINKEDID = "CHANNEL(linkedid)"

EVENTS = (
    "ApplicationReplaced",
    "BridgeAttendedTransfer",
    "BridgeBlindTransfer",
    "ChannelCallerId",
    "ChannelConnectedLine",
    "ChannelCreated",
    "ChannelDestroyed",
    "ChannelDialplan",
    "ChannelDtmfReceived",
    "ChannelEnteredBridge",
    "ChannelHold",
    "ChannelLeftBridge",
    "ChannelStateChange",
    "ChannelUnhold",
    "ChannelUserevent",
    "PlaybackFinished",
    "RecordingFailed",
    "RecordingFinished",
    "RecordingStarted",
    "StasisStart",
)


@dataclass(frozen=True, slots=True)
class Orders:
    """What the administrator wants of every call on the PBX."""

    trunks: tuple[str, ...]
    resume_after_s: int = 0
    keys: Mapping[str, KeyFunction] = field(default_factory=dict)
    user_events_to: tuple[str, ...] = ()


class Lanes:
    """Threads that work side by side, but in order for what has the same key."""

    def __init__(self, name: str) -> None:
        self._lanes = [ThreadPoolExecutor(1, f"{name}-{number}") for number in range(LANES)]

    def submit(self, key: str, work: Callable[..., object], *arguments: Any) -> None:
        """Do the work soon. What fails is logged; the next check finds what is left to do."""
        self._lanes[self.number_of(key)].submit(self._run, work, *arguments)

    def submit_each(
        self, work: Callable[[Sequence[CallRecord]], object], records: Iterable[CallRecord]
    ) -> None:
        """As `submit` for each call by its id, but once for all that come to one thread."""
        together: dict[int, list[CallRecord]] = {}
        for record in records:
            together.setdefault(self.number_of(record.id), []).append(record)
        for some in together.values():
            self.submit(some[0].id, work, some)

    @staticmethod
    def number_of(key: str) -> int:
        """The thread that does what has this key."""
        return crc32(key.encode()) % LANES

    def close(self) -> None:
        """Finish what has begun, drop the rest."""
        for lane in self._lanes:
            lane.shutdown(wait=True, cancel_futures=True)

    @staticmethod
    def _run(work: Callable[..., object], *arguments: Any) -> None:
        try:
            work(*arguments)
        except EarwitnessError as error:
            log.warning("watch.postponed", error=str(error))
        except Exception:
            log.exception("watch.failed")


class Every:
    """Says when so many seconds have passed; the clock may be set meanwhile."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether they have passed since this was last true."""
        now = time.monotonic()
        due = now - self._last >= self._seconds
        if due:
            self._last = now
        return due


class Newest:
    """Calls that wait for a thread of their lane to take them: the newest of each, many at once.

    The more there is to do, the more is done at once. Work that follows this one has to be
    submitted for its own records: they may be older than what was taken here, never newer.
    """

    def __init__(self, lanes: Lanes, work: Callable[[Sequence[CallRecord]], object]) -> None:
        self._lanes = lanes
        self._work = work
        self._waiting: dict[str, CallRecord] = {}
        self._lock = threading.Lock()

    def submit(self, records: Iterable[CallRecord]) -> None:
        """Do the work for these soon, in order with what else has their keys."""
        wanted = tuple(records)
        with self._lock:
            self._waiting |= {record.id: record for record in wanted}
        self._lanes.submit_each(self._take, wanted)

    def _take(self, records: Sequence[CallRecord]) -> None:
        lane = self._lanes.number_of(records[0].id)
        with self._lock:
            taken = [one for one in self._waiting if self._lanes.number_of(one) == lane]
            newest = [self._waiting.pop(one) for one in taken]
        if newest:
            self._work(newest)


@dataclass(frozen=True)
class Watch:
    """Watches one PBX until it is told to stop."""

    name: str
    client: Ari
    catalogue: Catalogue
    capture: Capture
    spies: Spies
    book: RuleBook
    orders: Orders

    def run(self, stop: threading.Event) -> None:
        """Own the PBX and watch it; stand by while another process does."""
        told = ""
        while not stop.is_set():
            try:
                with self.catalogue.try_lock(f"watch {self.name}") as lock:
                    if lock is not None:
                        told = ""
                        log.info("watch.began", pbx=self.name)
                        self._watch(lock, stop)
                    elif told != "standing by":
                        told = "standing by"
                        log.info("watch.stands-by", pbx=self.name)
            except EarwitnessError as error:
                if told != str(error):
                    told = str(error)
                    log.warning("watch.interrupted", pbx=self.name, error=told)
            except Exception:
                log.exception("watch.broke", pbx=self.name)  # begun anew, by listing what there is
            stop.wait(TICK_S)

    def _watch(self, lock: Lock, stop: threading.Event) -> None:
        lanes = Lanes(f"watch-{self.name}")
        session = _Session(self, lanes)
        try:
            with (
                ari.EventStream(self.client, allowed=EVENTS) as stream,
                telling(self.catalogue, self.client, self.name, self.orders.user_events_to),
            ):
                while not stop.is_set():
                    session.take(stream)
                    session.check(lock)
        finally:
            lanes.close()
            session.close()


class _Session:
    """The time for which one process owns the PBX: the call model lives as long."""

    def __init__(self, watch: Watch, lanes: Lanes) -> None:
        self._name = watch.name
        self._ari = watch.client
        self._catalogue = watch.catalogue
        self._capture = watch.capture
        self._spies = watch.spies
        self._orders = watch.orders
        self._sounds = Sounds(watch.client)
        self._decisions = Decisions(
            watch.catalogue, watch.client, self._sounds, watch.capture, watch.book
        )
        self._demand = OnDemand(watch.catalogue, watch.capture)
        self._keys = KeySequences(watch.orders.keys)
        self._lanes = lanes
        self._lane_of = lru_cache(MOST_RECORDINGS)(self._find_lane)
        self._asked = Newest(lanes, self._decisions.ask)
        self._model = CallModel(self._name, self._orders.trunks)
        self._saved: dict[str, CallRecord] = {}
        self._dirty: set[str] = set()
        self._connected = False
        self._stale = False
        self._had_spies = True  # until it is known otherwise
        self._lost_at: datetime | None = None
        self._checks, self._ticks, self._asks_open = Every(CHECK_S), Every(TICK_S), Every(CHECK_S)
        self._ticked_at = datetime.now(UTC)
        self._restore()

    def _restore(self) -> None:
        with self._catalogue.begin() as tx:
            for record in calls.list_live_calls(tx, pbx=self._name):
                self._model.restore(record)
                self._saved[record.id] = record

    def close(self) -> None:
        """What is being said is said to its end."""
        self._sounds.close()

    # Events

    def take(self, stream: ari.EventStream) -> None:
        """Wait for something to happen, take what else has, and write the changed calls down."""
        item = stream.next(TICK_S)
        taken = 0
        while item is not None:
            self._handle(item)
            taken += 1
            item = stream.next(0) if taken < BATCH else None
        self._flush()

    def _handle(self, item: ari.Event | ari.Connected | ari.Disconnected) -> None:
        match item:
            case ari.Connected():
                self._reconcile()
            case ari.Disconnected(at=at, reason=reason):
                self._disconnected(at, reason)
            case ari.RecordingStarted(at=at, recording=recording):
                self._segment_started(recording.name, at)
            case ari.RecordingFinished(at=at, recording=recording):
                self._segment_ended(recording.name, at, "finished")
            case ari.RecordingFailed(at=at, recording=recording):
                self._segment_ended(recording.name, at, "failed")
            case ari.PlaybackFinished(playback=playback):
                self._sounds.finished(playback)
            case ari.StasisStart(channel=channel) if part := names.parse_spy_part(channel.id):
                self._spy_part(item, part)
            case ari.ChannelDestroyed(channel=channel) if part := names.parse_spy_part(channel.id):
                self._spy_part(item, part)
            case ari.DtmfReceived():
                self._key_pressed(item)
            case ari.ChannelUserevent(eventname="earwitness"):
                self._asked_for(item)
            case ari.StasisStart(channel=channel) if channel.technology not in HELPERS:
                self._send_back(channel)
            case ari.Event():
                self._dirty |= self._model.apply(item, self._linkedids(item))

    def _linkedids(self, event: ari.Event) -> dict[str, str]:
        """What the event needs to be understood; `channelvars` of ari.conf may bring it along."""
        needed = self._model.linkedids_needed(event)
        if isinstance(event, ari.ChannelCreated) and LINKEDID in event.channel.variables:
            return dict.fromkeys(needed, event.channel.variables[LINKEDID])
        try:
            return self._read_linkedids(needed)
        except AriError as error:  # what cannot be read now is found by the next check
            log.warning("watch.stale", pbx=self._name, error=str(error))
            self._stale = True
            return {}

    def _read_linkedids(self, channel_ids: tuple[str, ...]) -> dict[str, str]:
        """Of channels that still exist. Raises AriError: what was not read is not gone."""
        read = {id_: self._ari.find_variable(id_, LINKEDID) for id_ in channel_ids}
        return {id_: linkedid for id_, linkedid in read.items() if linkedid}

    def _segment_started(self, name: str, at: datetime) -> None:
        one = names.parse_recording_name(name)
        if one is not None:
            note, lane = self._capture.segment_started, self._lane_of(one.recording_id)
            self._lanes.submit(lane, note, one.recording_id, one.segment_id, at)

    def _segment_ended(self, name: str, at: datetime, cause: str) -> None:
        """A file of ours is closed: note it, and see what that means for its recording."""
        one = names.parse_recording_name(name)
        if one is not None:
            lane = self._lane_of(one.recording_id)
            self._lanes.submit(lane, self._capture.segment_ended, one.segment_id, at, cause)
            self._lanes.submit(lane, self._capture.settle, one.recording_id)

    def _find_lane(self, recording_id: UUID) -> str:
        """That of its call, where the rules are asked first whether one who joined may be heard."""
        with self._catalogue.begin() as tx:
            found = recordings.find_recording(tx, recording_id)
        return found.call_id if found is not None else str(recording_id)

    def _key_pressed(self, item: ari.DtmfReceived) -> None:
        channel_id = item.channel.id
        if part := names.parse_spy_part(channel_id):
            self._spy_part(item, part)
            return
        wish = self._keys.press(channel_id, item.digit, item.at)
        call_id = self._model.find_call_of(channel_id)
        if wish is not None and call_id is not None:
            self._flush()  # who wishes it may have answered just now
            self._lanes.submit(
                call_id, self._demand.pressed, self._sounds, call_id, channel_id, wish
            )

    def _asked_for(self, item: ari.ChannelUserevent) -> None:
        """A dialplan, or another program, sent the user event `earwitness` with an `action`."""
        call_id = self._model.find_call_of(item.channel.id) if item.channel is not None else None
        order = str(item.userevent.get("action", ""))
        if call_id is None or order not in COMMANDS:
            log.warning("watch.no-such-order", pbx=self._name, order=order, call=call_id)
            return
        self._flush()  # the call may have begun just now
        self._lanes.submit(call_id, self._carry_out, call_id, order)

    def _carry_out(self, call_id: str, order: Command) -> None:
        try:
            self._demand.carry_out(call_id, order, by="dialplan", trigger="dialplan")
        except EarwitnessError as error:
            log.warning("watch.order-refused", call=call_id, order=order, reason=str(error))

    def _spy_part(self, item: ari.Event, part: names.SpyPart) -> None:
        """Something happened to a channel of spies."""
        if part.kind != "phone" or part.spy_id is None:
            return
        match item:
            case ari.StasisStart():
                self._lanes.submit(str(part.spy_id), self._spies.settle, part.spy_id)
            case ari.DtmfReceived(digit=key):
                self._lanes.submit(str(part.spy_id), self._spies.key_pressed, part.spy_id, key)
            case ari.ChannelDestroyed(cause=cause):
                self._lanes.submit(str(part.spy_id), self._spies.phone_ended, part.spy_id, cause)

    def _send_back(self, channel: ari.Channel) -> None:
        """A dialplan sent us a caller: we answer nobody, so the call goes on in the dialplan."""
        log.warning("watch.not-a-destination", pbx=self._name, channel=channel.id)
        try:
            self._ari.continue_in_dialplan(channel.id)
        except AriError as error:
            log.warning("watch.not-sent-back", channel=channel.id, error=str(error))

    def _disconnected(self, at: datetime, reason: str) -> None:
        log.warning("pbx.unreachable", pbx=self._name, reason=reason)
        self._connected = False
        self._lost_at = self._lost_at or at
        self._save_pbx("unreachable", reason, "")

    # The whole truth, by listing

    def _reconcile(self) -> None:
        """Bring model and recordings to what the PBX has now."""
        try:
            info = self._ari.get_info()
            restarted = self._lost_at is not None and info.startup_at > self._lost_at
            if restarted:
                self._spies.lose(self._name)
            self._rebuild(self._lost_at if restarted else None)
            # First what the PBX lost: a call that ended is settled, which would end its segments.
            self._capture.check_running(self._name, self._lost_at if restarted else None)
            self._flush()
            self._remove_orphans()
        except (AriError, EarwitnessError) as error:
            log.warning("watch.stale", pbx=self._name, error=str(error))
            self._stale = True
            return
        self._stale, self._lost_at, self._connected = False, None, True
        self._save_pbx("connected", "", info.version)
        log.info("pbx.connected", pbx=self._name, version=info.version)
        self._check_recordings()
        self._lanes.submit(self._name, self._spies.check, self._name)
        self._consider(tuple(self._saved.values()))

    def _rebuild(self, lost_at: datetime | None) -> None:
        listed = [channel for channel in self._ari.list_channels() if belongs_to_call(channel)]
        bridges = self._ari.list_bridges()
        self._dirty |= self._model.rebuild(
            listed,
            self._linkedids_of(listed, bridges),
            bridges,
            lost_at or datetime.now(UTC),
            vanished=lost_at is None,
        )

    def _linkedids_of(
        self, listed: Sequence[ari.Channel], bridges: Sequence[ari.Bridge]
    ) -> dict[str, str]:
        """What `channelvars` brought along, and is read where who is joined seems to be apart."""
        told = {channel.id: channel.variables.get(LINKEDID, "") for channel in listed}
        joined = [[id_ for id_ in bridge.channel_ids if id_ in told] for bridge in bridges]
        apart = {id_ for ids in joined if len({told[id_] for id_ in ids}) > 1 for id_ in ids}
        sure = {id_: told[id_] for id_ in told.keys() - apart if told[id_]}
        return sure | self._read_linkedids(tuple(id_ for id_ in told if id_ not in sure))

    def _remove_orphans(self) -> None:
        """Snoops of ours that no segment claims: their recording ended while nobody watched."""
        channels = self._ari.list_channels(prefix=names.OURS)
        with self._catalogue.begin() as tx:  # after the list: a claim comes before its snoop
            claimed = {segment.id for segment in segments.list_running_segments(tx, self._name)}
        for channel in channels:
            segment_id = names.parse_snoop_id(channel.id)
            if segment_id is not None and segment_id not in claimed:
                log.info("watch.orphan-removed", pbx=self._name, channel=channel.id)
                self._ari.hang_up(channel.id)

    # The catalogue

    def _flush(self) -> None:
        """Write changed calls down, then see to their recordings."""
        if not self._dirty:
            return
        changed = [self._model.record(call_id) for call_id in self._dirty]
        changed = [record for record in changed if record != self._saved.get(record.id)]
        saved = self._saved
        others = {
            record.id: _people(record)
            for record in changed
            if _people(record) != _people(saved.get(record.id))
        }
        news = {
            record.id: record
            for record in changed
            if record.id in others or _shape(record) != _shape(saved.get(record.id))
        }
        with self._catalogue.begin() as tx:
            calls.save_calls(tx, changed, before=saved)
            live = recordings.list_recordings_of_calls(tx, others, in_states=states.LIVE)
            for call_id in {one.call_id for one in live}:
                recordings.update_people(tx, call_id, others[call_id])
        self._dirty.clear()
        self._settle(news)
        for record in changed:
            self._saw(record)

    def _saw(self, record: CallRecord) -> None:
        before = self._saved.get(record.id)
        if before is None or before.state != record.state:
            log.info(f"call.{record.state}", call=record.id, direction=record.direction)
        self._saved[record.id] = record
        if record.state == "ended":
            self._model.forget(record.id)
            del self._saved[record.id]

    def _save_pbx(self, state: PbxState, detail: str, version: str) -> None:
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            pbxs.save_pbx(tx, PbxRecord(self._name, state, detail, version, now))

    def _settle(self, changed: Mapping[str, CallRecord]) -> None:
        """See to what the rules say of the calls, to their recordings, and to the spies: those on
        the calls, and those that wait for their agents."""
        if not changed:
            return
        with self._catalogue.begin() as tx:
            recorded = recordings.list_recordings_of_calls(tx, changed, in_states=states.LIVE)
            spying = spies.list_live_spies(tx, self._name)
        # What runs goes on first, unless it may be forbidden; what begins has time.
        asks_first = self._decisions.may_forbid()
        if asks_first:
            self._asked.submit(changed.values())
        for one in recorded:
            self._lanes.submit(one.call_id, self._capture.settle, one.id)
        if not asks_first:
            self._asked.submit(changed.values())
        self._lanes.submit_each(self._decisions.obey, changed.values())
        for spy in spying:
            if any(follows(spy, record) for record in changed.values()):
                self._lanes.submit(str(spy.id), self._spies.settle, spy.id)

    def _consider(self, records: Sequence[CallRecord]) -> None:
        self._asked.submit(records)
        self._lanes.submit_each(self._decisions.obey, records)

    # Spies

    def _check_spies(self) -> None:
        """While there are any, and until a check succeeds after the last.

        A process may die at its end.
        """
        with self._catalogue.begin() as tx:
            has_spies = bool(spies.list_live_spies(tx, self._name))
        self._had_spies = self._had_spies or has_spies
        if self._had_spies:
            self._lanes.submit(self._name, self._bring_spies_to_order, has_spies)

    def _bring_spies_to_order(self, has_spies: bool) -> None:
        self._spies.check(self._name)
        self._had_spies = has_spies

    # The check that needs no event

    def check(self, lock: Lock) -> None:
        """Every few seconds: are we still the owner, and is every recording what it should be?"""
        now = datetime.now(UTC)
        self._tick(now)
        if not self._checks.is_due():
            return
        lock.verify()
        if self._stale or self._model.is_split():
            self._reconcile()
        with self._catalogue.begin() as tx:
            pbxs.touch_pbx(tx, self._name, now)
        if self._connected:
            self._check_recordings()
            self._check_spies()

    def _tick(self, now: datetime) -> None:
        """Every second: the rules that read the clock, beeps, and what ended calls lack; every
        five, calls for which something has still to be done."""
        if not self._connected or not self._ticks.is_due():
            return
        asks_all = self._decisions.follow_time(self._ticked_at, now)
        asks_open = self._asks_open.is_due()
        self._ticked_at = now
        if asks_all or asks_open:
            live = self._saved.values()
            self._consider(
                [record for record in live if asks_all or self._decisions.is_open(record.id)]
            )
        self._lanes.submit(self._name, self._decisions.beep, self._name)
        self._lanes.submit(self._name, self._decisions.assure, self._name, now - ASSURED_AFTER)

    def _check_recordings(self) -> None:
        self._lanes.submit(self._name, self._capture.check_snoops, self._name)
        with self._catalogue.begin() as tx:
            live = recordings.list_live_recordings(tx, self._name)
            unsettled = [one.id for one in live if not self._is_settled(tx, one)]
            unsettled += [
                one.recording_id for one in segments.list_unended_segments(tx, self._name)
            ]
        for recording_id in dict.fromkeys(unsettled):
            self._lanes.submit(self._lane_of(recording_id), self._capture.settle, recording_id)
        for recording in live:
            if _is_forgotten(recording, self._orders.resume_after_s, datetime.now(UTC)):
                self._lanes.submit(recording.call_id, self._resume, recording.id)

    def _is_settled(self, tx: Any, recording: RecordingRecord) -> bool:
        call = calls.get_call(tx, recording.call_id)
        speaking = voice_channels(spies.list_spies_of_calls(tx, [call.id]))
        present = segments.list_segments(tx, recording.id)
        return plan_capture(call, recording, present, speaking).is_settled

    def _resume(self, recording_id: UUID) -> None:
        """Unless somebody has resumed it meanwhile, and perhaps paused it anew."""
        with self._catalogue.begin() as tx:
            recording = recordings.get_recording(tx, recording_id)
        if _is_forgotten(recording, self._orders.resume_after_s, datetime.now(UTC)):
            self._capture.resume(recording_id, by="resume_after_s")


def _is_forgotten(recording: RecordingRecord, resume_after_s: int, now: datetime) -> bool:
    """Whether a pause has lasted longer than pauses may."""
    if recording.state != "paused" or not resume_after_s:
        return False
    return now - recording.pauses[-1].from_at >= timedelta(seconds=resume_after_s)


def _people(record: CallRecord | None) -> Mapping[str, Any]:
    return {name: getattr(record, name) for name in PEOPLE} if record is not None else {}


def _shape(record: CallRecord | None) -> Any:
    """What decides which legs are captured, and who is heard with whom."""
    if record is None:
        return None
    decisive = ("id", "joined_at", "left_at", "state", "bridge_id")
    return [tuple(getattr(leg, name) for name in decisive) for leg in record.channels]
