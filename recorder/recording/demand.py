"""Recordings on demand: commands from an agent's keys, a dialplan or a user event."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from recorder.calls.legs import extension_of, legs_of
from recorder.errors import RecordingForced, RecordingNotActive
from recorder.recording.capture import Capture
from recorder.recording.gate import read_scene
from recorder.recording.sounds import PAUSED, STARTED, STOPPED, Sound, Sounds
from storage.actors import key_actor
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import Actor, RecordingRecord, Trigger

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

    Example: `demand.carry_out(call_id, "pause", by=key_actor("2001"), trigger="dtmf")`.
    """

    catalogue: Catalogue
    capture: Capture

    def carry_out(
        self, call_id: str, command: Command, *, by: Actor, trigger: Trigger
    ) -> RecordingRecord:
        """Apply the command to every recording that hears the people of the call, or start one.

        Return the newest of them. Raises RecordingNotActive where there is none to stop, pause or
        resume, and RecordingForced where a rule forces each of them.
        """
        running = self.capture.list_heard(call_id)
        if not running:
            if command == "start":
                return self.capture.start(call_id, by=by, trigger=trigger)
            raise RecordingNotActive(f"call {call_id} is not being recorded")
        newest = max(running, key=lambda recording: recording.id)
        if command == "start":
            return newest
        if command == "stop":
            return self._stop(running, by)
        # A pause, and a resume, holds for the people, so one request reaches every recording.
        active = [one for one in running if one.state != "requested"]
        chosen = max(active, key=lambda recording: recording.id, default=newest)
        act = self.capture.pause if command == "pause" else self.capture.resume
        return act(chosen.id, by=by)

    def _stop(self, running: Collection[RecordingRecord], by: Actor) -> RecordingRecord:
        stopped: RecordingRecord | None = None
        forced: RecordingForced | None = None
        for recording in running:
            try:
                stopped = self.capture.stop(recording.id, by=by)
            except RecordingForced as error:
                forced = error
        if stopped is None:
            raise forced or RecordingNotActive("no recording was stopped")
        return stopped

    def pressed(self, sounds: Sounds, call_id: str, channel_id: str, function: KeyFunction) -> None:
        """Carry out an agent's key sequence where the rules allow it, and confirm it by a sound.

        Each sequence is a switch: `toggle` starts or stops, `pause` pauses or resumes.
        """
        with self.catalogue.begin() as tx:
            scene = read_scene(tx, call_id)
        leg = next((one for one in legs_of(scene.calls[call_id]) if one.id == channel_id), None)
        together = [one for one in scene.conversations if channel_id in one.leg_ids]
        found = (scene.decision_on(one) for one in together)
        is_allowed = any(one is not None and one.action in LEFT_TO_AGENTS for one in found)
        if leg is None or leg.party != "agent" or not is_allowed:
            log.info("keys.ignored", call=call_id, channel=channel_id, function=function)
            return
        running = self.capture.list_heard(call_id)
        command: Command
        if function == "toggle":
            command = "stop" if running else "start"
        else:
            is_paused = any(one.state == "paused" for one in running)
            command = "resume" if is_paused else "pause"
        by = key_actor(extension_of(leg))
        try:
            recording = self.carry_out(call_id, command, by=by, trigger="dtmf")
        except EarwitnessError as error:
            log.info("keys.refused", call=call_id, command=command, reason=str(error))
            return
        log.info(
            "keys.accepted", call=call_id, command=command, recording=str(recording.id), by=by.name
        )
        sounds.play_soon([channel_id], _SOUNDS[command], AFTER_KEYS_S)
