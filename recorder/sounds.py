"""Sounds that one party of a call hears, while the call goes on."""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import structlog
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from recorder import names
from recorder.ari import Ari, AriError, AriNotFound
from recorder.stasis import in_stasis

log = structlog.get_logger()

LONGEST_S = 60.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Sound:
    """What ARI plays: `sound:NAME`, `tone:…`. A tone has no end: it is stopped after `lasts_s`."""

    media: str
    lasts_s: float | None = None


# What an agent hears when a key has been obeyed, and what the parties hear of a recorded call.
STARTED = Sound("tone:!880/120,!0/60,!1175/120,0", 0.4)
STOPPED = Sound("tone:!1175/120,!0/60,!880/120,0", 0.4)
PAUSED = Sound("tone:!660/120,!0/60,!660/120,0", 0.4)
BEEP = Sound("tone:!1400/200,0", 0.25)


def play(ari: Ari, channel_ids: Collection[str], sound: Sound) -> bool:
    """Let these parties, and no other, hear a sound; returns when it is over.

    Says whether everybody heard it to its end.
    Raises AriError where the PBX does not answer; a party that hung up is none of our errors.
    """
    if not channel_ids:
        return True
    with ThreadPoolExecutor(len(channel_ids), "sounds") as threads:
        return all(list(threads.map(lambda id_: _play(ari, id_, sound), channel_ids)))


def _play(ari: Ari, channel_id: str, sound: Sound) -> bool:
    sound_id = names.build_sound_id(uuid4(), channel_id)
    try:
        ari.snoop(channel_id, snoop_id=sound_id, whisper="out")
        in_stasis(lambda: ari.play(sound_id, sound.media, playback_id=sound_id))
        if sound.lasts_s is None:
            return _await_end(ari, sound_id)
        time.sleep(sound.lasts_s)
        return ari.stop_playback(sound_id)
    except AriNotFound:
        return False  # the party hung up
    finally:
        _hang_up(ari, sound_id)


def _await_end(ari: Ari, playback_id: str) -> bool:
    attempts = Retrying(
        retry=retry_if_result(lambda playback: playback is not None),
        stop=stop_after_delay(LONGEST_S),
        wait=wait_fixed(LOOK_EVERY_S),
    )
    try:
        attempts(ari.find_playback, playback_id)
    except RetryError:
        log.warning("sound.too-long", playback=playback_id, longest_s=LONGEST_S)
        return False
    return True


def _hang_up(ari: Ari, sound_id: str) -> None:
    try:
        ari.hang_up(sound_id)
    except AriError as error:
        log.warning("sound.left", channel=sound_id, error=str(error))
