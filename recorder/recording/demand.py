"""Recordings on demand: commands from an agent's keys, a dialplan or a user event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from recorder.calls.legs import extension_of, legs_of
from recorder.errors import RecordingNotActive
from recorder.recording.capture import Capture
from recorder.recording.sounds import PAUSED, STARTED, STOPPED, Sound, Sounds
from storage import states
from storage.catalogue import calls, decisions, recordings
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import RecordingRecord, Trigger

log = structlog.get_logger()

Command = Literal["start", "stop", "pause", "resume"]
COMMANDS: tuple[Command, ...] = ("start", "stop", "pause", "resume")
KeyFunction = Literal["toggle", "pause"]
# The actions of a rule, or of the default, that let agents use their keys.
LEFT_TO_AGENTS = ("on_demand", "record", "force")

# While a key is down, a phone plays the tone of the key and nothing else.
AFTER_KEYS_S = 0.5

_SOUNDS: Mapping[Command, Sound] = {
    "start": STARTED,
    "resume": STARTED,
    "stop": STOPPED,
    "pause": PAUSED,
}


@dataclass(frozen=True)
class OnDemand:
    """Commands for the recording of a live call. Raises the errors of `Capture`.

    Example: `OnDemand(catalogue, capture).carry_out(id, "pause", by="2001", trigger="dtmf")`.
    """

    catalogue: Catalogue
    capture: Capture

    def carry_out(
        self, call_id: str, command: Command, *, by: str, trigger: Trigger
    ) -> RecordingRecord:
        """Apply the command to the newest live recording of the call, or start a recording.

        Raises RecordingNotActive where there is none to stop, pause or resume.
        """
        running = self._find_running(call_id)
        if command == "start":
            return running or self.capture.start(call_id, by=by, trigger=trigger)
        if running is None:
            raise RecordingNotActive(f"call {call_id} is not being recorded")
        act = {
            "stop": self.capture.stop,
            "pause": self.capture.pause,
            "resume": self.capture.resume,
        }
        return act[command](running.id, by=by)

    def pressed(self, sounds: Sounds, call_id: str, channel_id: str, function: KeyFunction) -> None:
        """Carry out an agent's key sequence where the rules allow it, and confirm it by a sound.

        Each sequence is a switch: `toggle` starts or stops, `pause` pauses or resumes.
        """
        with self.catalogue.begin() as tx:
            call = calls.get_call(tx, call_id)
            decision = decisions.find_decision(tx, call_id)
        leg = next((one for one in legs_of(call) if one.id == channel_id), None)
        is_allowed = decision is not None and decision.action in LEFT_TO_AGENTS
        if leg is None or leg.party != "agent" or not is_allowed:
            log.info("keys.ignored", call=call_id, channel=channel_id, function=function)
            return
        running = self._find_running(call_id)
        command: Command
        if function == "toggle":
            command = "stop" if running is not None else "start"
        else:
            command = "resume" if running is not None and running.state == "paused" else "pause"
        by = extension_of(leg)
        try:
            recording = self.carry_out(call_id, command, by=by, trigger="dtmf")
        except EarwitnessError as error:
            log.info("keys.refused", call=call_id, command=command, reason=str(error))
            return
        log.info("keys.accepted", call=call_id, command=command, recording=str(recording.id), by=by)
        sounds.play_soon([channel_id], _SOUNDS[command], AFTER_KEYS_S)

    def _find_running(self, call_id: str) -> RecordingRecord | None:
        """Return the newest live recording of the call; recording ids grow with time."""
        with self.catalogue.begin() as tx:
            found = recordings.list_recordings_of_calls(tx, [call_id], in_states=states.LIVE)
        return max(found, key=lambda recording: recording.id, default=None)
