"""Recordings on demand: what an agent's keys, a dialplan or a user event ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

import structlog

from recorder.calls.legs import extension_of, legs_of
from recorder.errors import RecordingNotActive
from recorder.recording.sounds import PAUSED, STARTED, STOPPED, Sound, Sounds
from storage import states
from storage.catalogue import calls, decisions, recordings
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import DecisionRecord, RecordingRecord, Trigger

log = structlog.get_logger()

Command = Literal["start", "stop", "pause", "resume"]
COMMANDS: tuple[Command, ...] = ("start", "stop", "pause", "resume")
KeyFunction = Literal["toggle", "pause"]
# What agents may ask for with their keys is what a rule, or the default, leaves to them.
LEFT_TO_AGENTS = ("on_demand", "record", "force")

# While a key is down a phone lets its own tone be heard, and nothing else.
AFTER_KEYS_S = 0.5

_SOUNDS: Mapping[Command, Sound] = {
    "start": STARTED,
    "resume": STARTED,
    "stop": STOPPED,
    "pause": PAUSED,
}


class Recorder(Protocol):
    """What is needed of `Capture`."""

    def start(self, call_id: str, *, by: str, trigger: Trigger) -> RecordingRecord:
        """Begin."""

    def stop(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """End."""

    def pause(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Stop listening."""

    def resume(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Listen again."""


@dataclass(frozen=True)
class OnDemand:
    """What can be asked for while a call lives. Raises what `Capture` does."""

    catalogue: Catalogue
    recorder: Recorder

    def carry_out(
        self, call_id: str, order: Command, *, by: str, trigger: Trigger
    ) -> RecordingRecord:
        """Do what is asked with the newest recording of the call that runs, or begin one.

        Raises RecordingNotActive where there is none to stop, pause or resume.
        """
        running = self._running(call_id)
        if order == "start":
            return running or self.recorder.start(call_id, by=by, trigger=trigger)
        if running is None:
            raise RecordingNotActive(f"call {call_id} is not being recorded")
        act = {
            "stop": self.recorder.stop,
            "pause": self.recorder.pause,
            "resume": self.recorder.resume,
        }
        return act[order](running.id, by=by)

    def pressed(self, sounds: Sounds, call_id: str, channel_id: str, wish: KeyFunction) -> None:
        """An agent pressed keys: obey where the rules leave it to agents, and let them hear so."""
        with self.catalogue.begin() as tx:
            call = calls.get_call(tx, call_id)
            decision = decisions.find_decision(tx, call_id)
        leg = next((one for one in legs_of(call) if one.id == channel_id), None)
        if leg is None or leg.party != "agent" or not _is_left_to_agents(decision):
            log.info("keys.ignored", call=call_id, channel=channel_id, wish=wish)
            return
        order = self._order(call_id, wish)
        by = extension_of(leg)
        try:
            recording = self.carry_out(call_id, order, by=by, trigger="dtmf")
        except EarwitnessError as error:
            log.info("keys.refused", call=call_id, order=order, reason=str(error))
            return
        log.info("keys.obeyed", call=call_id, order=order, recording=str(recording.id), by=by)
        sounds.play_soon([channel_id], _SOUNDS[order], AFTER_KEYS_S)

    def _order(self, call_id: str, wish: KeyFunction) -> Command:
        """What the keys mean now: each pair is one switch."""
        running = self._running(call_id)
        if wish == "toggle":
            return "stop" if running is not None else "start"
        return "resume" if running is not None and running.state == "paused" else "pause"

    def _running(self, call_id: str) -> RecordingRecord | None:
        with self.catalogue.begin() as tx:
            found = recordings.list_recordings_of_calls(tx, [call_id], in_states=states.LIVE)
        return max(found, key=_age, default=None)


def _age(recording: RecordingRecord) -> UUID:
    return recording.id


def _is_left_to_agents(decision: DecisionRecord | None) -> bool:
    return decision is not None and decision.action in LEFT_TO_AGENTS
