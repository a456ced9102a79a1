"""Listen to rendered files: sides, times, silences and cuts."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import (
    LEFT_HZ,
    RIGHT_HZ,
    SILENT_DBFS,
    TONE_DBFS,
    Heard,
    both_tones,
    peak_mb,
    piece,
    render_elsewhere,
    silence,
    tone,
    write_wav,
)

from recorder.audio import NotAudio, Piece, Rendition, Span, render

FORMATS = ("opus", "mp3", "flac", "wav")
LOSSLESS = ("flac", "wav")
RATES = (8_000, 16_000)


def _render(tmp_path: Path, pieces: list[Piece], format: str = "wav", **how: object) -> Rendition:
    how = {"layout": "dual", "target": tmp_path / f"out.{format}", **how}
    return render(pieces, format=format, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("format", FORMATS)
def test_each_side_is_heard_on_its_side_alone(tmp_path: Path, format: str, rate: int) -> None:
    """While both talk, each side is full on its own channel and below -60 dBFS on the other."""
    heard = Heard(_render(tmp_path, both_tones(tmp_path, rate=rate), format).path)
    assert heard.dbfs(0, LEFT_HZ) == pytest.approx(TONE_DBFS, abs=1)
    assert heard.dbfs(1, RIGHT_HZ) == pytest.approx(TONE_DBFS, abs=1)
    assert heard.dbfs(0, RIGHT_HZ, 0.3) < SILENT_DBFS
    assert heard.dbfs(1, LEFT_HZ, 0.3) < SILENT_DBFS


@pytest.mark.parametrize("format", FORMATS)
def test_a_silent_side_is_silent(tmp_path: Path, format: str) -> None:
    """One speaker alone leaves the other side silent; in MP3 below -60 dBFS."""
    made = _render(tmp_path, [piece(tmp_path, "left", tone(LEFT_HZ, 3.0))], format)
    other = Heard(made.path).channels[1]
    assert 20 * np.log10(np.sqrt(np.mean(other**2)) + 1e-6) < (-60 if format == "mp3" else -90)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("length_s", [0.06, 1.0, 3.7771])
@pytest.mark.parametrize("format", FORMATS)
def test_the_decoded_length_is_the_duration(
    tmp_path: Path, format: str, length_s: float, rate: int
) -> None:
    """The decoded length equals `duration_s`, to a sample of the input."""
    samples = tone(LEFT_HZ, length_s, rate)
    made = _render(tmp_path, [piece(tmp_path, "left", samples, rate=rate)], format)
    assert made.duration_s == len(samples) / rate
    assert Heard(made.path).duration_s == pytest.approx(made.duration_s, abs=1.01 / rate)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("layout", ["dual", "mono"])
@pytest.mark.parametrize("format", FORMATS)
def test_sounds_begin_in_time(tmp_path: Path, format: str, layout: str, rate: int) -> None:
    """The first sample is at time 0, and a later piece begins in time, to 5 ms."""
    pieces = [
        piece(tmp_path, "left", tone(LEFT_HZ, 0.5, rate), 0.0, rate=rate),
        piece(tmp_path, "right", tone(RIGHT_HZ, 0.5, rate), 1.2345, rate=rate),
        piece(tmp_path, "left", tone(LEFT_HZ, 0.25, rate), 2.0, rate=rate),
    ]
    heard = Heard(_render(tmp_path, pieces, format, layout=layout).path)
    right = 1 if layout == "dual" else 0
    assert heard.spans(0, LEFT_HZ) == [
        pytest.approx((0.0, 0.5), abs=0.005),
        pytest.approx((2.0, 2.25), abs=0.005),
    ]
    assert heard.spans(right, RIGHT_HZ) == [pytest.approx((1.2345, 1.7345), abs=0.005)]


def test_a_barging_supervisor_is_on_both_sides(tmp_path: Path) -> None:
    """A supervisor who barges is added to each side, for the time of the piece."""
    pieces = [
        piece(tmp_path, "left", tone(LEFT_HZ, 2.0)),
        piece(tmp_path, "both", tone(RIGHT_HZ, 0.5), 1.0),
    ]
    heard = Heard(_render(tmp_path, pieces, "wav").path)
    for side in (0, 1):
        assert heard.spans(side, RIGHT_HZ) == [pytest.approx((1.0, 1.5), abs=0.005)]
    assert heard.spans(0, LEFT_HZ) == [pytest.approx((0.0, 2.0), abs=0.005)]
    assert heard.spans(1, LEFT_HZ) == []


@pytest.mark.parametrize("format", FORMATS)
def test_mono_holds_both(tmp_path: Path, format: str) -> None:
    """A mono file has one channel with half of each side."""
    made = _render(tmp_path, both_tones(tmp_path), format, layout="mono")
    heard = Heard(made.path)
    assert (made.channels, len(heard.channels)) == (1, 1)
    assert heard.dbfs(0, LEFT_HZ) == pytest.approx(TONE_DBFS - 6, abs=1)
    assert heard.dbfs(0, RIGHT_HZ) == pytest.approx(TONE_DBFS - 6, abs=1)


def test_mono_never_clips(tmp_path: Path) -> None:
    """Two sides at full scale stay undistorted in mono."""
    loud = [piece(tmp_path, side, tone(LEFT_HZ, 1.0, dbfs=0)) for side in ("left", "right")]
    heard = Heard(_render(tmp_path, loud, layout="mono").path)
    assert heard.dbfs(0, LEFT_HZ) == pytest.approx(0, abs=0.1)
    assert heard.dbfs(0, 3 * LEFT_HZ) < SILENT_DBFS


def test_overlap_on_one_side_saturates(tmp_path: Path) -> None:
    """Overlapping pieces of one side are added, up to full scale."""
    flat = np.full(8_000, 20_000, np.int16)
    pieces = [
        piece(tmp_path, "left", flat),
        piece(tmp_path, "left", flat, 0.5),
        piece(tmp_path, "left", -flat, 2.0),
        piece(tmp_path, "left", -flat, 2.0),
    ]
    left = Heard(_render(tmp_path, pieces).path).channels[0] * 32_768
    assert (
        left[[0, 3_999, 4_000, 7_999, 8_000, 11_999]].tolist()
        == [20_000] * 2 + [32_767] * 2 + [20_000] * 2
    )
    assert left[12_000:16_000].any() == np.False_
    assert left[16_000] == -32_768


@pytest.mark.parametrize("layout", ["dual", "mono"])
@pytest.mark.parametrize("format", LOSSLESS)
def test_a_blank_span_is_exactly_silent(tmp_path: Path, format: str, layout: str) -> None:
    """Every sample of a blank span is zero, and the times around it do not change."""
    blank = [Span(1.00001, 1.5), Span(1.4, 2.0), Span(3.99, 9.0)]
    made = _render(tmp_path, both_tones(tmp_path), format, layout=layout, blank=blank)
    heard = Heard(made.path)
    assert made.duration_s == 4.0
    assert not heard.part(1.0, 2.0).any()
    assert not heard.part(3.99, 4.0).any()
    assert heard.dbfs(0, LEFT_HZ, 0.01, 0.99) > TONE_DBFS - 7
    assert heard.dbfs(0, LEFT_HZ, 2.01, 3.9) > TONE_DBFS - 7


@pytest.mark.parametrize("format", ["opus", "mp3"])
def test_a_blank_span_is_silent_in_lossy_formats(tmp_path: Path, format: str) -> None:
    """A blank span is silent, except for the ringing of the codec."""
    made = _render(tmp_path, both_tones(tmp_path), format, blank=[Span(1.0, 3.0)])
    assert np.abs(Heard(made.path).part(1.2, 2.8)).max() < 0.001


@pytest.mark.parametrize("format", FORMATS)
def test_a_cut_span_is_gone(tmp_path: Path, format: str) -> None:
    """No sample of a cut span is left, and the later sound is earlier by its length."""
    speech = np.concatenate((tone(LEFT_HZ, 1.0), tone(1_500, 2.0), tone(LEFT_HZ, 1.0)))
    marker = np.concatenate((silence(3.5), tone(RIGHT_HZ, 0.5)))
    pieces = [piece(tmp_path, "left", speech), piece(tmp_path, "right", marker)]
    made = _render(tmp_path, pieces, format, cut=[Span(1.0, 3.0)])
    heard = Heard(made.path)
    assert made.duration_s == 2.0
    assert heard.duration_s == pytest.approx(2.0, abs=0.001)
    assert heard.dbfs(0, 1_500) < SILENT_DBFS
    assert heard.spans(1, RIGHT_HZ) == [pytest.approx((1.5, 2.0), abs=0.005)]


def test_a_joint_does_not_click(tmp_path: Path) -> None:
    """No step at a cut or a blank span is larger than the steps of the sound."""
    sound = tone(LEFT_HZ, 4.0)
    made = _render(
        tmp_path,
        [piece(tmp_path, "left", sound)],
        cut=[Span(1.0003, 1.7)],
        blank=[Span(3.0004, 3.2)],
    )
    steps = np.abs(np.diff(Heard(made.path).channels[0]))
    assert steps.max() <= 1.05 * np.abs(np.diff(sound / 32_768)).max()


def test_a_cut_inside_a_blank_span(tmp_path: Path) -> None:
    """A blank span stays blank on both sides of a cut inside it."""
    made = _render(tmp_path, both_tones(tmp_path), blank=[Span(1, 3)], cut=[Span(1.5, 2.5)])
    heard = Heard(made.path)
    assert made.duration_s == 3.0
    assert not heard.part(1.0, 2.0).any()
    assert heard.dbfs(1, RIGHT_HZ, 2.01) == pytest.approx(TONE_DBFS, abs=0.1)


@pytest.mark.parametrize("format", FORMATS)
def test_all_cut(tmp_path: Path, format: str) -> None:
    """If everything is cut, a short silence is left that players accept."""
    made = _render(tmp_path, both_tones(tmp_path), format, cut=[Span(0, 99)])
    heard = Heard(made.path)
    assert made.duration_s == 0.02
    assert made.waveform.peaks == ((0,), (0,))
    assert heard.duration_s == pytest.approx(0.02, abs=0.001)
    assert np.abs(heard.channels).max() < 0.001


def test_lost_header(tmp_path: Path) -> None:
    """A file with the length 0 in its header and half a last sample is heard in full."""
    path = write_wav(tmp_path / "crashed.wav", tone(LEFT_HZ, 2.0), claimed=0)
    path.write_bytes(path.read_bytes() + b"\x7f")
    made = _render(tmp_path, [Piece(path, "left", 0.0, None)])
    assert Heard(made.path).spans(0, LEFT_HZ) == [pytest.approx((0.0, 2.0), abs=0.005)]


def test_a_piece_without_sound(tmp_path: Path) -> None:
    """A piece with a header alone adds silence up to its place."""
    pieces = [
        piece(tmp_path, "left", tone(LEFT_HZ, 1.0)),
        piece(tmp_path, "right", silence(0), 3.0, span_s=0.05),
    ]
    made = _render(tmp_path, pieces)
    assert made.duration_s == 3.0
    assert not Heard(made.path).channels[1].any()


@pytest.mark.parametrize("format", FORMATS)
def test_mixed_rates(tmp_path: Path, format: str) -> None:
    """Pieces of two rates are rendered at the higher one, each with its time and pitch."""
    pieces = [
        piece(tmp_path, "left", tone(LEFT_HZ, 2.0, 8_000), 0.5, rate=8_000),
        piece(tmp_path, "right", tone(RIGHT_HZ, 2.0, 16_000), 0.5, rate=16_000),
    ]
    made = _render(tmp_path, pieces, format)
    heard = Heard(made.path)
    assert made.sample_rate == 16_000
    assert heard.dbfs(0, LEFT_HZ, 0.6, 2.4) == pytest.approx(TONE_DBFS, abs=1)
    assert heard.spans(0, LEFT_HZ) == [pytest.approx((0.5, 2.5), abs=0.005)]
    assert heard.spans(1, RIGHT_HZ) == [pytest.approx((0.5, 2.5), abs=0.005)]


def test_stereo_piece(tmp_path: Path) -> None:
    """A piece with two channels is the mean of both."""
    both = np.stack((tone(LEFT_HZ, 1.0), tone(RIGHT_HZ, 1.0)), axis=1)
    path = write_wav(tmp_path / "stereo.wav", both.reshape(-1), channels=2)
    heard = Heard(_render(tmp_path, [Piece(path, "right", 0.0, None)]).path)
    assert heard.dbfs(1, LEFT_HZ) == pytest.approx(TONE_DBFS - 6, abs=0.1)
    assert heard.dbfs(1, RIGHT_HZ) == pytest.approx(TONE_DBFS - 6, abs=0.1)


def test_the_rendition_describes_its_file(tmp_path: Path) -> None:
    """Content type, size and hash of the rendition are right."""
    result = {}
    for format in FORMATS:
        made = _render(tmp_path, both_tones(tmp_path, 0.5), format)
        result[made.extension] = made.content_type
        assert (made.format, made.channels, made.sample_rate) == (format, 2, 8_000)
        assert made.size_bytes == made.path.stat().st_size
        found = subprocess.run(["sha256sum", made.path], capture_output=True, check=True)
        assert found.stdout.split()[0].decode() == made.sha256
    assert result == {
        "opus": "audio/ogg",
        "mp3": "audio/mpeg",
        "flac": "audio/flac",
        "wav": "audio/wav",
    }


@pytest.mark.parametrize("layout", ["dual", "mono"])
@pytest.mark.parametrize("format", FORMATS)
def test_same_bytes_every_time(tmp_path: Path, format: str, layout: str) -> None:
    """Another process renders the same input to the same bytes."""
    pieces = both_tones(tmp_path, 5.0)
    first = _render(tmp_path, pieces, format, layout=layout)
    again = tmp_path / "again"
    paths = [piece.path for piece in pieces]
    assert render_elsewhere(paths, again, layout=layout, format=format)[0] == first.sha256
    assert again.read_bytes() == first.path.read_bytes()


def test_nothing_to_render(tmp_path: Path) -> None:
    """Without a piece, or with one that is no audio, render raises NotAudio."""
    with pytest.raises(NotAudio):
        _render(tmp_path, [])
    (tmp_path / "empty.wav").touch()
    with pytest.raises(NotAudio):
        _render(tmp_path, [Piece(tmp_path / "empty.wav", "left", 0.0, None)])


def test_no_piece_begins_before_the_recording() -> None:
    """A piece cannot begin before its recording."""
    with pytest.raises(ValueError, match=r"0\.5 s before"):
        Piece(Path("a.wav"), "left", -0.5, None)


placements = st.lists(
    st.tuples(st.sampled_from(["left", "right"]), st.integers(0, 60_000), st.integers(0, 30_000)),
    min_size=1,
    max_size=5,
)
runs = st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 9_000)), max_size=3)


@settings(max_examples=60)
@given(placed=placements, blank=runs, cut=runs)
def test_any_placement(
    tmp_path_factory: pytest.TempPathFactory,
    placed: list[tuple[str, int, int]],
    blank: list[tuple[int, int]],
    cut: list[tuple[int, int]],
) -> None:
    """Each sample is the sum of its pieces or zero, for any pieces, blanks and cuts."""
    folder = tmp_path_factory.mktemp("placed")
    end = max(offset + length for _, offset, length in placed)
    expected = np.zeros((2, end))
    pieces = []
    for number, (side, offset, length) in enumerate(placed):
        samples = np.full(length, 1_000 * (number + 1), np.int16)
        pieces.append(piece(folder, side, samples, offset / 8_000))
        expected[0 if side == "left" else 1, offset : offset + length] += samples
    silent, faded = np.zeros(end, bool), np.zeros(end, bool)
    for start, length in [*blank, *cut]:
        silent[start : start + length] = True
        if length:
            faded[max(0, start - 40) : start + length + 40] = True
    gone = np.zeros(end, bool)
    for start, length in cut:
        gone[start : start + length] = True
    made = _render(folder, pieces, blank=_spans(blank), cut=_spans(cut))
    if gone.all():
        assert made.duration_s == 0.02
        return
    heard = Heard(made.path).channels * 32_768
    assert heard.shape == (2, np.count_nonzero(~gone))
    assert not heard[:, silent[~gone]].any()
    assert np.array_equal(heard[:, ~faded[~gone]], expected[:, ~gone][:, ~faded[~gone]])


def _spans(runs: list[tuple[int, int]]) -> list[Span]:
    return [Span(start / 8_000, (start + length) / 8_000) for start, length in runs]


def test_memory_does_not_grow_with_the_call(tmp_path: Path) -> None:
    """Rendering 2 hours takes less than 120 MB, and little more than rendering 10 s."""
    most = {
        length_s: peak_mb(tmp_path, length_s, layout="dual", format="opus", pieces=2)
        for length_s in (10, 7_200)
    }
    assert most[7_200] < 120
    assert most[7_200] - most[10] < 20


def test_a_piece_is_silent_where_it_must_be(tmp_path: Path) -> None:
    """A silent span takes the sound of its own piece alone."""
    spans = (Span(0.75, 1.0), Span(1.25, 9.0))
    loud = piece(tmp_path, "left", np.full(8_000, 9_000, np.int16), 0.5)
    other = piece(tmp_path, "right", np.full(8_000, 9_000, np.int16), 0.5)
    heard = Heard(_render(tmp_path, [replace(loud, silent=spans), other]).path)
    moments = [round(at_s * 8_000) for at_s in (0.6, 0.76, 0.99, 1.1, 1.3)]
    assert [bool(heard.channels[0][at]) for at in moments] == [True, False, False, True, False]
    assert all(heard.channels[1][at] for at in moments)
