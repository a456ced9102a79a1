"""The proof by ear distinguishes the tones, and names every wrong hearing."""

import math
import struct
from collections.abc import Mapping
from typing import cast, get_args

import pytest

from earwitness.proof import (
    HEARS,
    PARTIES,
    SILENCE_DBFS,
    TONES_HZ,
    Who,
    build_frames,
    find_faults,
    level_dbfs,
)
from recorder.media.pacing import FRAME_BYTES
from storage.records import Mode

MODES: tuple[Mode, ...] = get_args(Mode)


def sound_of(*speakers: Who, turned_down_db: float = 0.0) -> bytes:
    """Return a second in which these parties speak at once."""
    factor = 10 ** (-turned_down_db / 20)
    spoken = [struct.unpack("<16000h", b"".join(build_frames(who))) for who in speakers]
    mixed = [round(sum(at) * factor) for at in zip(*spoken, strict=True)] or [0] * 16000
    return struct.pack("<16000h", *mixed)


def heard_in(mode: Mode, **otherwise: bytes) -> Mapping[Who, bytes]:
    """Return the right audio of each party in a mode, except where given otherwise."""
    right = {who: sound_of(*HEARS[mode][who]) for who in PARTIES}
    return cast("Mapping[Who, bytes]", right | otherwise)


def test_a_tone_is_measured() -> None:
    """A quarter of full scale is -12 dBFS, alone or among others; an absent tone is silent."""
    sound = sound_of("customer", "agent")
    assert level_dbfs(sound, TONES_HZ["customer"]) == pytest.approx(-12.04, abs=0.1)
    assert level_dbfs(sound, TONES_HZ["agent"]) == pytest.approx(-12.04, abs=0.1)
    assert level_dbfs(sound, TONES_HZ["supervisor"]) < -90
    assert level_dbfs(bytes(3200), 440) == level_dbfs(b"", 440) == SILENCE_DBFS


def test_full_scale_is_zero() -> None:
    """A full-scale sine has the level 0 dBFS."""
    sine = [round(32767 * math.sin(2 * math.pi * 440 * n / 16000)) for n in range(16000)]
    assert level_dbfs(struct.pack("<16000h", *sine), 440) == pytest.approx(0.0, abs=0.05)


def test_frames_repeat_without_a_click() -> None:
    """The last of the 50 frames leads into the first."""
    frames = build_frames("agent")
    assert len(frames) == 50
    assert {len(frame) for frame in frames} == {FRAME_BYTES}
    shifted = b"".join(frames[25:] + frames[:25])
    assert level_dbfs(shifted, TONES_HZ["customer"]) < -90


def test_a_lost_frame_is_no_other_tone() -> None:
    """The click of a missing frame is not taken for a party's voice."""
    frames = build_frames("agent")
    sound = b"".join(frames[:13] + frames[14:31] + frames[33:])
    assert level_dbfs(sound, TONES_HZ["agent"]) == pytest.approx(-12.04, abs=0.5)
    assert level_dbfs(sound, TONES_HZ["supervisor"]) < -60


@pytest.mark.parametrize("mode", MODES)
def test_correct_audio_has_no_fault(mode: Mode) -> None:
    """Audio as the mode wants it has no fault."""
    assert find_faults(mode, heard_in(mode)) == ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize("speaker", PARTIES)
def test_every_wrong_hearing_is_a_fault(mode: Mode, who: Who, speaker: Who) -> None:
    """A missing or a wrong tone gives one fault, which names both parties."""
    wrong = sound_of(*(HEARS[mode][who] ^ {speaker}))
    (fault,) = find_faults(mode, heard_in(mode, **{who: wrong}))
    assert fault.startswith(f"the {who} ")
    assert ("does not hear" in fault) == (speaker in HEARS[mode][who])
    assert speaker in fault or "an echo" in fault


def test_a_faint_voice_is_always_a_fault() -> None:
    """A voice of -40 dBFS is neither heard well nor silent."""
    faint = sound_of("supervisor", turned_down_db=28)
    (fault,) = find_faults(
        "listen", heard_in("listen", supervisor=_mixed(faint, "customer", "agent"))
    )
    assert fault == "the supervisor hears an echo (-40 dBFS)"
    faults = find_faults("barge", heard_in("barge", customer=_mixed(faint, "agent")))
    assert faults == ("the customer does not hear the supervisor (-40 dBFS)",)


def _mixed(sound: bytes, *speakers: Who) -> bytes:
    pairs = zip(struct.unpack("<16000h", sound), _samples(*speakers), strict=True)
    return struct.pack("<16000h", *(one + other for one, other in pairs))


def _samples(*speakers: Who) -> tuple[int, ...]:
    return struct.unpack("<16000h", sound_of(*speakers))
