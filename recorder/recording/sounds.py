"""Sounds that one party of a call hears, while the call goes on."""

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from uuid import uuid4

import structlog
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay

from recorder import names
from recorder.ari import Ari, AriError, AriNotFound, Playback
from recorder.ari.stasis import in_stasis

log = structlog.get_logger()

LONGEST_S = 60.0
AT_ONCE = 64
# The PBX tells when a sound is over; we look whether it plays still, where that went astray.
LOOK_EVERY_S = 0.5
LATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Sound:
    """What ARI plays: `sound:NAME`, `tone:…`. A tone has no end: it is stopped after `lasts_s`."""

    media: str
    lasts_s: float | None = None


# What an agent hears when a key has been obeyed, and what the parties hear of a recorded call. One
# tone each: through a snoop Asterisk plays the first of a sequence alone (measured on 22.10).
STARTED = Sound("tone:1700", 0.2)
STOPPED = Sound("tone:2000", 0.2)
PAUSED = Sound("tone:1850", 0.2)
BEEP = Sound("tone:1400", 0.2)


class Sounds:
    """One PBX, for sounds. What it tells of playbacks has to be handed to `finished`."""

    def __init__(self, ari: Ari) -> None:
        self._ari = ari
        self._ends: dict[str, Future[bool]] = {}  # of each playback, whether it was heard
        self._threads = ThreadPoolExecutor(AT_ONCE, "sounds")

    def play(self, channel_ids: Collection[str], sound: Sound) -> bool:
        """Let these parties, and no other, hear a sound; returns when it is over.

        Says whether everybody heard it to its end. Raises AriError where the PBX does not answer; a
        party that hung up is none of our errors.
        """
        if not channel_ids:
            return True
        with ThreadPoolExecutor(len(channel_ids), "sound") as threads:
            return all(list(threads.map(lambda id_: self._play(id_, sound), channel_ids)))

    def finished(self, playback: Playback) -> None:
        """The PBX says that a sound is over: to its end, or `failed`, as one that it lacks."""
        end = self._ends.get(playback.id)
        if end is not None and not end.done():
            end.set_result(playback.state != "failed")

    def play_soon(self, channel_ids: Collection[str], sound: Sound, after_s: float = 0.0) -> None:
        """Let them hear it while we go on; where that fails, it is logged."""
        self.do(self._play_after, channel_ids, sound, after_s)

    def do(self, work: Callable[..., None], *arguments: object) -> None:
        """Do what takes as long as a sound."""
        self._threads.submit(work, *arguments)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _play_after(self, channel_ids: Collection[str], sound: Sound, after_s: float) -> None:
        time.sleep(after_s)
        try:
            self.play(channel_ids, sound)
        except AriError as error:
            log.warning("sound.not-played", sound=sound.media, error=str(error))

    def _play(self, channel_id: str, sound: Sound) -> bool:
        sound_id = names.build_sound_id(uuid4(), channel_id)
        end = self._ends[sound_id] = Future()
        try:
            self._ari.snoop(channel_id, snoop_id=sound_id, whisper="out")
            in_stasis(lambda: self._ari.play(sound_id, sound.media, playback_id=sound_id))
            if sound.lasts_s is None:
                return self._await_end(sound_id, end)
            time.sleep(sound.lasts_s)
            return self._ari.stop_playback(sound_id)
        except AriNotFound:
            return False  # the party hung up
        finally:
            del self._ends[sound_id]
            _hang_up(self._ari, sound_id)

    def _await_end(self, playback_id: str, end: "Future[bool]") -> bool:
        """Whether it was heard to its end; not, where nobody says so."""

        def is_over() -> bool:
            wait([end], LOOK_EVERY_S)
            return end.done() or self._ari.find_playback(playback_id) is None

        try:
            Retrying(
                retry=retry_if_result(lambda over: not over), stop=stop_after_delay(LONGEST_S)
            )(is_over)
        except RetryError:
            log.warning("sound.too-long", playback=playback_id, longest_s=LONGEST_S)
            return False
        wait([end], LATE_S)
        return end.done() and end.result()


def _hang_up(ari: Ari, sound_id: str) -> None:
    try:
        ari.hang_up(sound_id)
    except AriError as error:
        log.warning("sound.left", channel=sound_id, error=str(error))
