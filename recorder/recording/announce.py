"""Announcements: the parties of a call hear that it is recorded before the recording starts.

    in the call's lane      in a thread of the sounds      in the call's lane again
    announce ─────────────▶ play it, wait for its end ───▶ save who heard it, start

Playing takes seconds, so it must not block the lane. All else happens in the call's lane, one
piece of work at a time: an announcement and a start can never race.
"""

import threading
from collections.abc import Callable, Sequence

import structlog

from recorder.recording.sounds import Sound, Sounds
from storage.catalogue import decisions
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError

log = structlog.get_logger()

# Queues work on the lane of a call; False once the lanes are closed.
SubmitToLane = Callable[..., bool]


class Announcer:
    """Plays announcements on one PBX."""

    def __init__(self, catalogue: Catalogue, sounds: Sounds, submit: SubmitToLane) -> None:
        self._catalogue = catalogue
        self._sounds = sounds
        self._submit = submit
        self._announcing: set[str] = set()
        self._lock = threading.Lock()

    def is_announcing(self, call_id: str) -> bool:
        """Whether an announcement plays to the call, or its recording is about to start."""
        return call_id in self._announcing

    def announce(
        self, call_id: str, media: str, channel_ids: Sequence[str], then: Callable[[], object]
    ) -> None:
        """Play a sound to these channels, and afterwards run `then` in the call's lane.

        `then` runs after a failure too: a missing sound file must not cost the recording. While an
        announcement plays to the call, do nothing: the lane of a joined call may want the same.
        """
        with self._lock:
            if call_id in self._announcing:
                return
            self._announcing.add(call_id)
        self._sounds.submit(self._play, call_id, media, channel_ids, then)

    def _play(
        self, call_id: str, media: str, channel_ids: Sequence[str], then: Callable[[], object]
    ) -> None:
        heard: Sequence[str] = ()
        try:
            with self._catalogue.begin() as tx:  # another owner of the PBX may have announced it
                kept = decisions.find_decision(tx, call_id)
            announced = kept.announced if kept is not None else ()
            left = [id_ for id_ in channel_ids if id_ not in announced]
            if self._sounds.play(left, Sound(media)):
                heard = left
                log.info("announcement.played", call=call_id, sound=media)
            else:
                log.warning("announcement.not-heard", call=call_id, sound=media)
        except Exception:
            log.exception("announcement.failed", call=call_id, sound=media)
        if not self._submit(call_id, self._finish, call_id, heard, then):
            # Another process owns the PBX now, or we are stopping: no lane works on the call here.
            self._finish(call_id, heard, then)

    def _finish(self, call_id: str, heard: Sequence[str], then: Callable[[], object]) -> None:
        try:
            if heard:
                with self._catalogue.begin() as tx:
                    decisions.add_announced(tx, call_id, heard)
        except EarwitnessError as error:  # these parties hear it again
            log.warning("announcement.not-saved", call=call_id, error=str(error))
        try:
            then()
        finally:
            self._announcing.discard(call_id)
