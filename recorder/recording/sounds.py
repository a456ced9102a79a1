"""Sounds that one party of a call hears while the call goes on."""

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from uuid import uuid4

import structlog

from recorder import names
from recorder.ari import Ari, AriError, AriNotFound, Playback
from recorder.ari.stasis import in_stasis

log = structlog.get_logger()

LONGEST_S = 60.0
AT_ONCE = 64
# Look this often whether a sound still plays, in case its end event was lost.
LOOK_EVERY_S = 0.5
# A sound that has disappeared from the PBX: the longest wait for its end event.
LATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound as ARI names it: `sound:NAME` or `tone:…`.

    A tone has no end, so it is stopped after `lasts_s`.
    """

    media: str
    lasts_s: float | None = None


# The first three confirm an agent's keys, the fourth reminds the parties of the recording, and the
# last tells a supervisor that nobody hears the voice. Each is one tone: through a snoop Asterisk
# plays only the first of several (measured on 22.10).
STARTED = Sound("tone:1700", 0.2)
STOPPED = Sound("tone:2000", 0.2)
PAUSED = Sound("tone:1850", 0.2)
BEEP = Sound("tone:1400", 0.2)
UNHEARD = Sound("tone:1000", 0.4)


class Sounds:
    """The sounds of one PBX. Hand every playback that ends to `finished`."""

    def __init__(self, ari: Ari) -> None:
        self._ari = ari
        self._ends: dict[str, Future[bool]] = {}  # playback id → whether it played to its end
        self._threads = ThreadPoolExecutor(AT_ONCE, "sounds")

    def play(self, channel_ids: Collection[str], sound: Sound) -> bool:
        """Play a sound to these parties only; return when it is over.

        Return whether all of them heard it to its end; a party that hangs up did not. Raises
        AriError where the PBX does not answer.
        """
        if not channel_ids:
            return True
        with ThreadPoolExecutor(len(channel_ids), "sound") as threads:
            return all(list(threads.map(lambda id_: self._play(id_, sound), channel_ids)))

    def finished(self, playback: Playback) -> None:
        """Note that a playback is over: it reached its end, or failed, for example for no file."""
        end = self._ends.get(playback.id)
        if end is not None and not end.done():
            end.set_result(playback.state != "failed")

    def play_soon(self, channel_ids: Collection[str], sound: Sound, after_s: float = 0.0) -> None:
        """Play a sound in the background; log a failure."""

        def play() -> None:
            time.sleep(after_s)
            try:
                self.play(channel_ids, sound)
            except AriError as error:
                log.warning("sound.failed", sound=sound.media, error=str(error))

        self.submit(play)

    def submit(self, work: Callable[..., None], *arguments: object) -> None:
        """Run work that lasts as long as a sound, in the background."""
        self._threads.submit(work, *arguments)

    def close(self) -> None:
        """Start no further sound."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _play(self, channel_id: str, sound: Sound) -> bool:
        """Play a sound through a snoop of its own; return whether it reached its end."""
        sound_id = names.build_sound_id(uuid4(), channel_id)
        end = self._ends[sound_id] = Future()
        try:
            self._ari.snoop(channel_id, snoop_id=sound_id, whisper="out")
            in_stasis(lambda: self._ari.play(sound_id, sound.media, playback_id=sound_id))
            if sound.lasts_s is not None:
                time.sleep(sound.lasts_s)
                return self._ari.stop_playback(sound_id)
            deadline = time.monotonic() + LONGEST_S
            while not wait([end], LOOK_EVERY_S).done and self._ari.find_playback(sound_id):
                if time.monotonic() > deadline:
                    log.warning("sound.abandoned", playback=sound_id, longest_s=LONGEST_S)
                    return False
            wait([end], LATE_S)
            return end.done() and end.result()
        except AriNotFound:
            return False  # the party hung up
        finally:
            del self._ends[sound_id]
            try:
                self._ari.hang_up(sound_id)
            except AriError as error:
                log.warning("sound.left-behind", channel=sound_id, error=str(error))
