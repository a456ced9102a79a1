"""Peaks, talk, silence and level."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import LEFT_HZ, RIGHT_HZ, TONE_DBFS, Pcm, piece, silence, tone

from recorder.audio import Span, Waveform, render
from recorder.audio.waveform import MOST_PEAKS, MOST_SPANS, WaveformBuilder, find_talk


def _meter(channel: Pcm, rate: int = 8_000, block: int = 10_001) -> Waveform:
    builder = WaveformBuilder(1, rate, len(channel))
    for start in range(0, len(channel), block):
        builder.add_block(channel[np.newaxis, start : start + block])
    return builder.waveform()


def _noise(duration_s: float, dbfs: float) -> Pcm:
    random = np.random.default_rng(5).normal(
        0, 32_768 * 10 ** (dbfs / 20), round(duration_s * 8_000)
    )
    return random.astype(np.int16)


def test_each_channel_has_its_talk(tmp_path: Path) -> None:
    """Talk is found in each channel alone, to a frame of 20 ms; the rest is silence."""
    pieces = [
        piece(tmp_path, "left", tone(LEFT_HZ, 2.0), 1.0),
        piece(tmp_path, "right", tone(RIGHT_HZ, 1.0), 4.0),
    ]
    made = render(pieces, layout="dual", format="wav", target=tmp_path / "o.wav")
    assert made.waveform.talk == (((1.0, 3.0),), ((4.0, 5.0),))
    assert made.waveform.silence == (((0.0, 1.0), (3.0, 5.0)), ((0.0, 4.0),))


def test_the_waveform_has_no_blank_or_cut_sound(tmp_path: Path) -> None:
    """A blank or cut span has neither talk nor peaks."""
    made = render(
        [piece(tmp_path, "left", tone(LEFT_HZ, 4.0))],
        layout="mono",
        format="wav",
        target=tmp_path / "o.wav",
        blank=[Span(0.0, 1.0)],
        cut=[Span(2.0, 3.0)],
    )
    assert made.waveform.talk == (((1.0, 3.0),),)
    assert set(made.waveform.peaks[0][:50]) == {0}
    assert len(made.waveform.peaks[0]) == 150


def test_level(tmp_path: Path) -> None:
    """The level is the RMS: -16 dBFS for a sine with a peak of -13, and -120 for silence."""
    made = render(
        [piece(tmp_path, "left", tone(LEFT_HZ, 2.0))],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    assert made.waveform.level_dbfs == (pytest.approx(TONE_DBFS - 3, abs=0.1), -120.0)


def test_breaks_between_words_are_talk() -> None:
    """A break of half a second belongs to the talk, a longer break does not."""
    word = tone(LEFT_HZ, 0.3)
    waveform = _meter(np.concatenate((word, silence(0.48), word, silence(0.54), word)))
    assert waveform.talk == (((0.0, 1.08), (1.62, 1.92)),)


def test_a_click_is_no_talk() -> None:
    """A sound of less than 0.1 s is no talk."""
    waveform = _meter(np.concatenate((silence(1.0), tone(LEFT_HZ, 0.06), silence(1.0))))
    assert waveform.talk == ((),)
    assert waveform.silence == (((0.0, 2.06),),)


@pytest.mark.parametrize("noise_dbfs", [-70, -55, -45])
def test_talk_over_noise(noise_dbfs: float) -> None:
    """A steady noise on the line is no talk, but a voice above it is."""
    sound = _noise(6.0, noise_dbfs)
    sound[16_000:32_000] += tone(LEFT_HZ, 2.0)
    assert _meter(sound).talk == (((2.0, 4.0),),)


def test_talk_without_end_is_talk() -> None:
    """A side without any silence is talk, not noise."""
    assert _meter(tone(LEFT_HZ, 5.0)).talk == (((0.0, 5.0),),)


def test_hysteresis() -> None:
    """Talk continues while it falls by less than 5 dB; a steady murmur does not start it."""
    line = [-80] * 100
    murmur, word = [-54] * 50, [-50] * 10
    assert find_talk(np.array([*line, *murmur, *word, *murmur], np.int8)) == [(100, 210)]
    assert find_talk(np.array([*line, *murmur], np.int8)) == []


@settings(max_examples=50)
@given(length=st.integers(0, 400_000), block=st.integers(1_000, 90_000))
def test_peaks_are_few_and_whole(length: int, block: int) -> None:
    """A sound of any length has at most 2,000 peaks, which cover it."""
    sound = np.full(length, -32_768, np.int16)
    waveform = _meter(sound, block=block)
    count = len(waveform.peaks[0])
    assert count <= MOST_PEAKS
    assert set(waveform.peaks[0]) <= {255}
    assert (
        count * waveform.seconds_per_peak
        >= length / 8_000
        > (count - 1) * waveform.seconds_per_peak
        or not length
    )


def test_spans_are_few() -> None:
    """Two hours of alternating words and breaks give at most 2,000 spans."""
    levels = np.tile(np.array([-20] * 5 + [-120] * 26, np.int8), 12_000)[:360_000]
    talk = find_talk(levels)
    assert 0 < len(talk) <= MOST_SPANS


def test_json() -> None:
    """The waveform can be written as JSON, and is small."""
    waveform = _meter(_noise(60.0, -20)).to_json()
    assert set(waveform) == {"seconds_per_peak", "peaks", "talk", "silence", "level_dbfs"}
    assert len(json.dumps(waveform)) < 20_000
