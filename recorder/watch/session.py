"""One PBX, for as long as this process owns it: from an event to the work in the lanes.

    events ──▶ call model ──▶ catalogue ──▶ lanes: evaluate the rules, settle recordings and spies

`Session.process_batch` waits for events and applies them to the call model. It saves the changed
calls, then it submits their work to the lanes (`recorder/watch/lanes.py`), which send the ARI
requests. The session itself sends requests only to read, or to hand a call back to the dialplan.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from recorder import ari, names
from recorder.ari import Ari, AriError
from recorder.calls.model import HELPERS, CallModel
from recorder.recording.capture import Capture
from recorder.recording.decisions import Decisions
from recorder.rules.facts import facts_of
from recorder.spy.intruders import find_intruder
from recorder.spy.plan import follows
from recorder.spy.spies import Spies
from recorder.watch.checks import Checks
from recorder.watch.dialled_calls import DialWatch, is_of_person
from recorder.watch.handlers import Handlers
from recorder.watch.lanes import Coalescer, Interval, Lanes
from recorder.watch.reconcile import find_linkedids, reconcile_calls, remove_orphans
from recorder.watch.rooms import RoomWatch
from recorder.watch.seen_agents import SeenAgents
from storage import states
from storage.catalogue import calls, pbxs, recordings, spies
from storage.catalogue.engine import Catalogue, Lock
from storage.catalogue.recordings import PEOPLE
from storage.errors import EarwitnessError
from storage.records import CallRecord, PbxRecord, PbxState

log = structlog.get_logger()

TICK_S = 1.0
CHECK_S = 5.0
BATCH = 1000

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
    "ChannelTalkingFinished",
    "ChannelTalkingStarted",
    "ChannelUnhold",
    "ChannelUserevent",
    "Dial",
    "PlaybackFinished",
    "RecordingFailed",
    "RecordingFinished",
    "RecordingStarted",
    "StasisStart",
)

Item = ari.Event | ari.Connected | ari.Disconnected


class Session:
    """Follows the calls of one PBX; only the owner of the PBX has a session."""

    def __init__(
        self,
        *,
        pbx: str,
        client: Ari,
        catalogue: Catalogue,
        model: CallModel,
        lanes: Lanes,
        decisions: Decisions,
        capture: Capture,
        spies: Spies,
        handlers: Handlers,
        checks: Checks,
        conferences: RoomWatch,
        agents: SeenAgents,
    ) -> None:
        self._pbx = pbx
        self._ari = client
        self._catalogue = catalogue
        self._model = model
        self._dialled = DialWatch(model)
        self._lanes = lanes
        self._decisions = decisions
        self._evaluations = Coalescer(lanes, decisions.evaluate)
        self._capture = capture
        self._spies = spies
        self._handlers = handlers
        self._checks = checks
        self._conferences = conferences
        self._agents = agents
        self._saved: dict[str, CallRecord] = {}  # the live calls, as the catalogue has them
        self._changed: set[str] = set()  # the ids of calls to save
        self._connected = False
        self._outdated = False  # whether the PBX has to be listed again
        self._lost_at: datetime | None = None
        self._each_second = Interval(TICK_S)
        self._each_check = Interval(CHECK_S)
        self._each_retry = Interval(CHECK_S)
        self._evaluated_at = datetime.now(UTC)

    def restore(self) -> None:
        """Continue with the live calls that the catalogue has. Raises CatalogueUnavailable."""
        with self._catalogue.begin() as tx:
            live = calls.list_live_calls(tx, pbx=self._pbx)
            self._saved |= {record.id: record for record in self._dialled.restore(tx, live)}

    def process_batch(self, stream: ari.EventStream) -> None:
        """Wait for an event, apply all that have arrived, then save the changed calls."""
        item = stream.next(TICK_S)
        applied = 0
        while item is not None:
            self.dispatch(item)
            applied += 1
            item = stream.next(0) if applied < BATCH else None
        self._flush()

    def check(self, lock: Lock) -> None:
        """Run the checks that are due. Raises CatalogueUnavailable once the lock is lost."""
        now = datetime.now(UTC)
        if self._connected and self._each_second.is_due():
            all_calls = self._decisions.follows_time(self._evaluated_at, now)
            open_calls = self._each_retry.is_due()
            self._evaluated_at = now
            if open_calls:
                self._decisions.reopen_changed_terms(self._pbx)
            if all_calls or open_calls:
                is_open = self._decisions.is_open
                live = self._saved.values()
                self._submit_rules([one for one in live if all_calls or is_open(one.id)])
            self._conferences.tick()
            self._checks.play_beeps()
            self._checks.assure_ended_calls()
        if not self._each_check.is_due():
            return
        lock.verify()
        if self._outdated:
            self._reconcile()
        with self._catalogue.begin() as tx:
            pbxs.touch_pbx(tx, self._pbx, now)
        if self._connected:
            self._checks.check_recordings()
            self._checks.check_spies()
            self._checks.check_dials()
            self._conferences.check()

    # Events

    def dispatch(self, item: Item) -> None:
        """Apply an event to the call model, or hand it to its handler.

        The changed calls are saved by the next `process_batch`.
        """
        is_intrusion = self._expel_intruder(item)
        if not is_intrusion and isinstance(item, ari.Event) and self._conferences.take(item):
            return
        match item:
            case ari.Connected():
                self._reconcile()
            case ari.Disconnected(at=at, reason=reason):
                log.warning("pbx.disconnected", pbx=self._pbx, reason=reason)
                self._connected = False
                self._lost_at = self._lost_at or at
                self._save_pbx("unreachable", reason, "")
            case ari.RecordingStarted() | ari.RecordingFinished() | ari.RecordingFailed():
                self._handlers.on_segment(item)
            case ari.PlaybackFinished():
                self._handlers.on_playback(item)
            case (
                ari.StasisStart(channel=channel)
                | ari.ChannelDestroyed(channel=channel)
                | ari.DtmfReceived(channel=channel)
            ) if part := names.parse_spy_part(channel.id):
                self._handlers.on_spy(item, part)
            case ari.DtmfReceived(channel=channel):
                self._flush()  # the party may have answered just now
                self._handlers.on_key(item, self._model.find_call_of(channel.id))
            case ari.ChannelUserevent(eventname="earwitness", channel=channel):
                self._flush()  # the call may have started just now
                call_id = self._model.find_call_of(channel.id) if channel is not None else None
                self._handlers.on_command(item, call_id)
            case ari.StasisStart(channel=channel) if (
                channel.technology not in HELPERS and not is_intrusion
            ):
                # Our application is no destination: the call goes on in the dialplan.
                log.warning("call.sent-back", pbx=self._pbx, channel=channel.id)
                try:
                    self._ari.continue_in_dialplan(channel.id)
                except AriError as error:
                    log.warning("call.not-sent-back", channel=channel.id, error=str(error))
            case ari.Event():
                try:
                    linkedids = find_linkedids(self._ari, self._model, item)
                except AriError as error:  # the next check lists the PBX
                    log.warning("linkedid.not-read", pbx=self._pbx, error=str(error))
                    self._outdated, linkedids = True, {}
                self._dialled.observe(item)
                self._changed |= self._model.apply(item, linkedids)

    def _expel_intruder(self, item: Item) -> bool:
        """Hang up a channel that would hear a call through us; the next frame is 20 ms away."""
        intruder = find_intruder(item, self._ari.application)
        if intruder is None:
            return False
        try:
            self._ari.hang_up(intruder.channel_id)
        except AriError as error:  # every check tries again
            log.warning("intruder.not-hung-up", channel=intruder.channel_id, error=str(error))
        self._handlers.on_intruder(self._pbx, intruder)
        return True

    # The catalogue

    def _flush(self) -> None:
        """Save the changed calls, then submit the work that follows from the changes."""
        if not self._changed:
            return
        saved = self._saved
        new = {id_ for id_ in self._changed - saved.keys() if is_of_person(id_)}
        if new:
            with self._catalogue.begin() as tx:
                saved |= self._dialled.adopt(tx, new)
        records = [self._read_call(call_id) for call_id in self._changed]
        changed = [record for record in records if record != saved.get(record.id)]
        parties = {
            record.id: fields
            for record in changed
            if (fields := _party_fields(record)) != _party_fields(saved.get(record.id))
        }
        relevant = {
            record.id: record
            for record in changed
            if record.id in parties
            or _relevant_fields(record) != _relevant_fields(saved.get(record.id))
        }
        with self._catalogue.begin() as tx:
            calls.save_calls(tx, changed, before=saved)
            self._agents.observe(tx, changed)
            unwanted = self._dialled.save(tx, changed)
            live = recordings.list_recordings_of_calls(tx, parties, in_states=states.LIVE)
            for call_id in {recording.call_id for recording in live}:
                recordings.update_people(tx, call_id, parties[call_id])
        self._changed.clear()
        if relevant:
            self._submit_work(relevant)
        for channel_id in unwanted:
            self._lanes.submit(channel_id, self._hang_up, channel_id)
        for record in changed:
            before = saved.get(record.id)
            if before is None or before.state != record.state:
                log.info(f"call.{record.state}", call=record.id, direction=record.direction)
            saved[record.id] = record
            if record.state == "ended":
                self._dialled.forget(record.id)
                self._model.forget(record.id)
                del saved[record.id]

    def _hang_up(self, channel_id: str) -> None:
        """Hang up a channel that rings although its dial is over; the next change retries."""
        try:
            self._ari.hang_up(channel_id)
        except AriError as error:
            log.warning("call.not-hung-up", channel=channel_id, error=str(error))

    def _read_call(self, call_id: str) -> CallRecord:
        """Return a call of the model; `changed_at` stays unless a fact that rules read changed."""
        record, before = self._model.record(call_id), self._saved.get(call_id)
        if before is None:
            return record
        same = facts_of(record, record.started_at) == facts_of(before, before.started_at)
        return replace(record, changed_at=before.changed_at) if same else record

    def _submit_work(self, changed: Mapping[str, CallRecord]) -> None:
        """Submit the rules, the running recordings and the spies of these calls to the lanes.

        Calls that are joined with one of them now, or were before the change, count too: their
        people may hear others than before. A spy may wait for the agent of another call: each spy
        that follows one of them counts.
        """
        company = {id_ for record in changed.values() for id_ in record.joined}
        company |= {
            id_
            for call_id in changed
            if call_id in self._saved
            for id_ in self._saved[call_id].joined
        }
        joined = {id_: self._saved[id_] for id_ in company if id_ in self._saved}
        affected = joined | dict(changed)
        near = affected.keys() | {id_ for record in affected.values() for id_ in record.met}
        with self._catalogue.begin() as tx:
            running = recordings.list_recordings_of_calls(tx, near, in_states=states.LIVE)
            live_spies = spies.list_live_spies(tx, self._pbx)
        if company:
            self._decisions.reconsider(affected.keys())
        # Settle running recordings before evaluating the rules, because starting one is not
        # urgent. Evaluate first if a rule may forbid a recording.
        evaluates_first = self._decisions.may_forbid()
        if evaluates_first:
            self._evaluations.submit(changed.values())
        for recording in running:
            self._lanes.submit(recording.call_id, self._capture.settle, recording.id)
        if not evaluates_first:
            self._evaluations.submit(changed.values())
        self._lanes.submit_calls(self._decisions.apply_decisions, affected.values())
        for spy in live_spies:
            if any(follows(spy, record) for record in affected.values()):
                self._lanes.submit(str(spy.id), self._spies.settle, spy.id)

    def _submit_rules(self, records: Collection[CallRecord]) -> None:
        self._evaluations.submit(records)
        self._lanes.submit_calls(self._decisions.apply_decisions, records)

    def _save_pbx(self, state: PbxState, detail: str, version: str) -> None:
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            pbxs.save_pbx(tx, PbxRecord(self._pbx, state, detail, version, now))

    # Listing the PBX

    def _reconcile(self) -> None:
        """List the PBX, and bring calls, recordings and spies to it. Retry at the next check."""
        try:
            info = self._ari.get_info()
            restarted = self._lost_at is not None and info.startup_at > self._lost_at
            lost_at = self._lost_at if restarted else None
            if restarted:
                self._spies.lose(self._pbx)
                self._conferences.lose()
            self._changed |= reconcile_calls(self._ari, self._model, lost_at)
            # First end the segments that the PBX lost, with their own cause. Then save the calls:
            # the end of a call settles its recordings, which would end these segments too.
            self._capture.check_running(self._pbx, lost_at)
            self._flush()
            remove_orphans(self._ari, self._catalogue, self._pbx)
        except (AriError, EarwitnessError) as error:
            log.warning("pbx.not-listed", pbx=self._pbx, error=str(error))
            self._outdated = True
            return
        self._outdated, self._lost_at, self._connected = False, None, True
        self._save_pbx("connected", "", info.version)
        log.info("pbx.connected", pbx=self._pbx, version=info.version)
        self._checks.check_recordings()
        self._lanes.submit(self._pbx, self._spies.check, self._pbx)
        self._conferences.check()
        self._submit_rules(tuple(self._saved.values()))


def _party_fields(record: CallRecord | None) -> Mapping[str, Any]:
    """Return the fields of a call that its recordings repeat."""
    return {name: getattr(record, name) for name in PEOPLE} if record is not None else {}


def _relevant_fields(record: CallRecord | None) -> Any:
    """Return the fields on which captures and spies depend, and the last change for the rules."""
    if record is None:
        return None
    legs = [
        (leg.id, leg.joined_at, leg.left_at, leg.state, leg.bridge_id) for leg in record.channels
    ]
    return legs, record.joined, record.changed_at
