"""Beeps that remind the parties of a recorded call that it is recorded."""

import time
from collections.abc import Callable
from uuid import UUID

from recorder.recording.coverage import cover
from recorder.recording.gate import read_scene
from recorder.recording.sounds import BEEP, Sounds
from storage.catalogue import recordings
from storage.catalogue.engine import Catalogue


class Beeps:
    """The beeps of each recording with `beep_every_s`."""

    def __init__(
        self, catalogue: Catalogue, sounds: Sounds, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalogue = catalogue
        self._sounds = sounds
        self._clock = clock
        self._next_at: dict[UUID, float] = {}  # on that clock

    def play_due(self, pbx: str) -> None:
        """Play a beep in each call where one is due; none while the recording is paused."""
        with self._catalogue.begin() as tx:
            live = recordings.list_live_recordings(tx, pbx)
        beeping = {one.id: one for one in live if one.beep_every_s and one.state == "recording"}
        now = self._clock()
        for recording_id in self._next_at.keys() - beeping.keys():
            del self._next_at[recording_id]
        for recording_id, recording in beeping.items():
            if now < self._next_at.setdefault(recording_id, now):
                continue
            self._next_at[recording_id] = now + recording.beep_every_s
            with self._catalogue.begin() as tx:
                scene = read_scene(tx, recording.call_id)
            self._sounds.play_soon(tuple(cover(scene, recording).legs), BEEP)
