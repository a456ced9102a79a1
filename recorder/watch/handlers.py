"""Handlers of the events that are work at once: of segments, spies, keys and commands.

These events change no call. Each handler submits its work to the lane in which the other work on
the same recording, spy or call runs.
"""

from collections.abc import Callable
from uuid import UUID

import structlog

from recorder import ari, names
from recorder.recording.capture import Capture
from recorder.recording.demand import COMMANDS, Command, OnDemand
from recorder.recording.dtmf import KeySequences
from recorder.recording.sounds import Sounds
from recorder.spy.intruders import Intruder
from recorder.spy.spies import Spies
from recorder.watch.lanes import Lanes
from recorder.watch.programs import ProgramDesk
from storage.errors import EarwitnessError, NoSuchCall

log = structlog.get_logger()

SegmentEvent = ari.RecordingStarted | ari.RecordingFinished | ari.RecordingFailed
SpyEvent = ari.StasisStart | ari.ChannelDestroyed | ari.DtmfReceived


class Handlers:
    """The handlers of one PBX."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        key_of_recording: Callable[[UUID], str | None],
        capture: Capture,
        spies: Spies,
        demand: OnDemand,
        keys: KeySequences,
        sounds: Sounds,
        desk: ProgramDesk,
    ) -> None:
        self._lanes = lanes
        self._key_of_recording = key_of_recording
        self._capture = capture
        self._spies = spies
        self._demand = demand
        self._keys = keys
        self._sounds = sounds
        self._desk = desk

    def on_segment(self, event: SegmentEvent) -> None:
        """Save that Asterisk opened or closed a segment's file. Settle after a closed file."""
        segment = names.parse_recording_name(event.recording.name)
        if segment is None:
            return
        recording_id, segment_id = segment.recording_id, segment.segment_id
        key = self._key_of_recording(recording_id)
        if key is None:
            return  # another instance's: our row comes before the file
        if isinstance(event, ari.RecordingStarted):
            started = self._capture.segment_started
            self._lanes.submit(key, started, recording_id, segment_id, event.at)
            return
        cause = "finished" if isinstance(event, ari.RecordingFinished) else "failed"
        self._lanes.submit(key, self._capture.segment_ended, segment_id, event.at, cause)
        self._lanes.submit(key, self._capture.settle, recording_id)

    def on_spy(self, event: SpyEvent, part: names.SpyPart) -> None:
        """Let the spy follow its supervisor's phone: it answered, sent a key, or hung up."""
        if part.kind != "phone" or part.spy_id is None:
            return
        key, spy_id = str(part.spy_id), part.spy_id
        match event:
            case ari.StasisStart():
                self._lanes.submit(key, self._spies.settle, spy_id)
            case ari.DtmfReceived(digit=digit):
                self._lanes.submit(key, self._spies.key_pressed, spy_id, digit)
            case ari.ChannelDestroyed(cause=cause):
                self._lanes.submit(key, self._spies.phone_ended, spy_id, cause)

    def on_intruder(self, pbx: str, intruder: Intruder) -> None:
        """End the spy whose phone was transferred, once the session has hung up the intruder."""
        key = str(intruder.spy_id or intruder.channel_id)
        self._lanes.submit(key, self._spies.phone_replaced, pbx, intruder)

    def on_key(self, event: ari.DtmfReceived, call_id: str | None) -> None:
        """Carry out the function of a party's keys, if this key completes a sequence."""
        channel_id = event.channel.id
        function = self._keys.press(channel_id, event.digit, event.at)
        if function is not None and call_id is not None:
            pressed = self._demand.pressed
            self._lanes.submit(call_id, pressed, self._sounds, call_id, channel_id, function)

    def on_command(self, event: ari.ChannelUserevent, call_id: str | None) -> None:
        """Carry out the `action` of a user event `earwitness`, from a dialplan or a program.

        The user event of a program has no channel: it may name the call of a recording.
        """
        command = str(event.userevent.get("action", ""))
        if command not in COMMANDS:
            self._desk.submit(event, call_id)
            return
        call_id = call_id or str(event.userevent.get("call") or "") or None
        if call_id is None:
            error = NoSuchCall("no live call has this channel")
            self._lanes.submit(command, self._desk.refuse, event, error)
            return
        self._lanes.submit(call_id, self._carry_out, event, call_id, command)

    def on_playback(self, event: ari.PlaybackFinished) -> None:
        """Wake the thread that waits for the end of this sound."""
        self._sounds.finished(event.playback)

    def _carry_out(self, event: ari.ChannelUserevent, call_id: str, command: Command) -> None:
        try:
            by = self._desk.actor
            kept = self._demand.carry_out(call_id, command, by=by, trigger="dialplan")
        except EarwitnessError as error:
            self._desk.refuse(event, error)
            return
        ids = {"call_id": call_id, "recording_id": str(kept.id)}
        self._desk.accept(event, {"state": kept.state, **ids})
