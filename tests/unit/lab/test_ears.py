"""The ears, on synthetic tones."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.ears import (
    ALL_HZ,
    SILENCE_DBFS,
    cut_out,
    level_dbfs,
    read_audio,
    tone_spans,
    worst_other_tone,
)

RATE = 8000


def tone(hz: float, seconds: float, dbfs: float = -13.0, rate: int = RATE) -> np.ndarray:
    """Return a sine with its peak at `dbfs`."""
    times = np.arange(round(seconds * rate)) / rate
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * times)


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    """Return silence."""
    return np.zeros(round(seconds * rate))


@pytest.mark.parametrize("hz", ALL_HZ)
@pytest.mark.parametrize("dbfs", [0.0, -13.0, -60.0])
def test_level_is_that_of_the_tone(hz: float, dbfs: float) -> None:
    """A sine is as loud as its peak."""
    assert level_dbfs(tone(hz, 1, dbfs), RATE, hz) == pytest.approx(dbfs, abs=0.1)


@pytest.mark.parametrize("hz", ALL_HZ)
def test_one_tone_is_no_other(hz: float) -> None:
    """In a second of any of the lab's tones no other of them is louder than -80 dBFS."""
    other, level = worst_other_tone(tone(hz, 1), RATE, [hz])
    assert level < -80, f"{other} Hz"


def test_a_shift_of_phase_costs_little() -> None:
    """A tone that changes to the opposite phase is as loud as before, except at the joint."""
    sound = np.concatenate((tone(440, 3), -tone(440, 3)))
    assert level_dbfs(sound, RATE, 440) == pytest.approx(-13, abs=1)


def test_silence_is_silent() -> None:
    """Silence, and an empty array, measure as the lowest level."""
    assert level_dbfs(silence(1), RATE, 440) == SILENCE_DBFS
    assert level_dbfs(silence(0), RATE, 440) == SILENCE_DBFS
    assert tone_spans(silence(1), RATE, 440) == []
    assert tone_spans(silence(0), RATE, 440) == []


def test_worst_other_tone_is_found() -> None:
    """The loudest tone that is not allowed is returned with its level."""
    sound = tone(440, 1) + tone(1210, 1, -50)
    hz, level = worst_other_tone(sound, RATE, [440, 880])
    assert (hz, round(level)) == (1210, -50)


@settings(max_examples=50)
@given(
    hz=st.sampled_from(ALL_HZ),
    before_s=st.floats(0, 1),
    tone_s=st.floats(0.05, 2),
    dbfs=st.floats(-25, 0),
    rate=st.sampled_from([8000, 16000]),
)
def test_span_of_a_tone(hz: float, before_s: float, tone_s: float, dbfs: float, rate: int) -> None:
    """A tone between silences is one span, with edges exact to 2 ms."""
    parts = (silence(before_s, rate), tone(hz, tone_s, dbfs, rate), silence(0.5, rate))
    spans = tone_spans(np.concatenate(parts), rate, hz)
    assert spans == [pytest.approx((before_s, before_s + tone_s), abs=0.002)]


@pytest.mark.parametrize("hz", ALL_HZ)
def test_two_phones_of_one_tone_have_no_span_of_another(hz: float) -> None:
    """In a window of 40 ms a tone of double strength is no other tone of the lab."""
    both = 2 * tone(hz, 1)
    for other in ALL_HZ:
        assert other == hz or tone_spans(both, RATE, other, window_s=0.04) == [], f"{other} Hz"


def test_a_click_is_no_other_tone() -> None:
    """Short silences of lost packets in one tone do not count as another tone."""
    sound = tone(1210, 3)
    for start in (4000, 12000, 20000):
        sound[start : start + 160] = 0
    _, level = worst_other_tone(sound, RATE, [1210])
    assert level < -70


def test_a_short_intruder_is_found() -> None:
    """Half a second of another tone at the very start is found, although the average is low."""
    sound = tone(440, 6)
    sound[:4000] += tone(1100, 0.5, -25)
    hz, level = worst_other_tone(sound, RATE, [440])
    assert hz == 1100
    assert level > -45


def test_spans_of_parties_in_turn() -> None:
    """Two parties who speak one after the other are separated exactly at the joint."""
    sound = np.concatenate((tone(880, 1), tone(1210, 1), tone(880, 1)))
    assert tone_spans(sound, RATE, 1210) == [pytest.approx((1, 2), abs=0.004)]
    assert tone_spans(sound, RATE, 880) == [
        pytest.approx((0, 1), abs=0.004),
        pytest.approx((2, 3), abs=0.004),
    ]
    assert tone_spans(sound, RATE, 440) == []


def test_a_hole_of_one_packet_is_heard() -> None:
    """Twenty milliseconds of silence split a tone into two spans."""
    sound = tone(440, 1)
    sound[4000:4160] = 0
    assert tone_spans(sound, RATE, 440) == [
        pytest.approx((0, 0.5), abs=0.004),
        pytest.approx((0.52, 1), abs=0.004),
    ]


def test_cut_out() -> None:
    """`cut_out` returns the samples between two moments, of every channel."""
    sound = np.stack((tone(440, 2), tone(880, 2)))
    assert np.array_equal(cut_out(sound, RATE, 0.5, 1.0), sound[:, 4000:8000])


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3"])
def test_read_wav(tmp_path: Path, name: str) -> None:
    """Each side of a file is read with its own tone alone."""
    sound = np.stack((tone(440, 2, rate=16000), tone(880, 2, rate=16000)))
    soundfile.write(tmp_path / name, sound.T, 16000)
    assert_sides(tmp_path / name, 16000)


@pytest.mark.parametrize("name", ["x.opus", "x.ogg"])
def test_read_opus(tmp_path: Path, name: str) -> None:
    """Opus is read at its 48 kHz."""
    sound = np.stack((tone(440, 2, rate=48000), tone(880, 2, rate=48000)))
    with av.open(str(tmp_path / name), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48000, layout="stereo", bit_rate=96000)
        interleaved = (sound.T * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert_sides(tmp_path / name, 48000)


def assert_sides(path: Path, expected_rate: int) -> None:
    """Return two seconds of 440 Hz on the left and 880 Hz on the right."""
    rate, (left, right) = read_audio(path)
    assert rate == expected_rate
    assert len(left) / rate == pytest.approx(2, abs=0.1)
    assert level_dbfs(left, rate, 440) == pytest.approx(-13, abs=1)
    assert level_dbfs(right, rate, 880) == pytest.approx(-13, abs=1)
    assert level_dbfs(left, rate, 880) < -60
    assert level_dbfs(right, rate, 440) < -60
