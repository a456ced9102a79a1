"""Listen to files with a track for each person."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import TONE_DBFS, Heard, both_tones, peak_mb, piece, render_elsewhere, tone, write_wav

from lab.ears import list_stray_voices
from recorder.audio import MOST_TRACKS, Piece, Rendition, Span, render
from recorder.audio.tracks import count_channels, fit_format

RATES = (8_000, 16_000)


def _hz(track: int) -> float:
    """Return the tone of a track: tones of one file have no harmonics in common."""
    return 310.0 + 170 * track


def _voices(folder: Path, count: int, duration_s: float = 2.0, rate: int = 8_000) -> list[Piece]:
    """Return a piece for each track, all at the same time."""
    return [
        Piece(
            write_wav(folder / f"{track}.wav", tone(_hz(track), duration_s, rate), rate),
            "both" if track % 3 == 2 else "right",
            0.0,
            None,
            track=track,
        )
        for track in range(count)
    ]


def _render(folder: Path, pieces: list[Piece], format: str, **how: object) -> Rendition:
    target = folder / f"out.{format}"
    how = {"layout": "tracks", "target": target, **how}
    return render(pieces, format=format, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("format", "count"),
    [
        *(("opus", count) for count in (1, 2, 3, 4, 5, 6, 7, 8, 12)),
        *(("flac", count) for count in (1, 2, 5, 8)),
        *(("wav", count) for count in (1, 5, 8, 12)),
        ("mp3", 2),
    ],
)
def test_each_voice_is_on_its_track_alone(
    tmp_path: Path, format: str, count: int, rate: int
) -> None:
    """While all talk, a person is full on the own track and below -60 dBFS on each other one."""
    made = _render(tmp_path, _voices(tmp_path, count, rate=rate), format)
    heard = Heard(made.path)
    assert (made.format, made.channels, len(heard.channels)) == (format, count, count)
    for track in range(count):
        assert heard.dbfs(track, _hz(track)) == pytest.approx(TONE_DBFS, abs=1)
    assert (
        list_stray_voices(heard.channels, heard.rate, [_hz(track) for track in range(count)]) == []
    )
    assert len(made.waveform.peaks) == len(made.waveform.talk) == count
    assert made.waveform.level_dbfs == pytest.approx([TONE_DBFS - 3] * count, abs=1)


def test_tracks_of_many_people_are_apart(tmp_path: Path) -> None:
    """So many tracks as Opus can hold are rendered, each with its own voice."""
    path = write_wav(tmp_path / "voice.wav", tone(440, 0.3))
    pieces = [Piece(path, "right", 0.3 * n, None, track=n) for n in (0, 9, 40, MOST_TRACKS - 1)]
    made = _render(tmp_path, pieces, "opus")
    heard = Heard(made.path)
    assert made.channels == len(heard.channels) == MOST_TRACKS
    loud = [n for n, sound in enumerate(heard.channels) if np.abs(sound).max() > 0.01]
    assert loud == [0, 9, 40, MOST_TRACKS - 1]


@pytest.mark.parametrize("format", ["opus", "flac"])
def test_a_track_is_silent_while_its_person_is_silent(tmp_path: Path, format: str) -> None:
    """The pieces of one person share the track; nobody else's talk is heard in between."""
    pieces = [
        *_voices(tmp_path, 4, 3.0)[:3],
        Piece(write_wav(tmp_path / "one.wav", tone(1_500, 0.5)), "left", 0.5, None, track=3),
        Piece(write_wav(tmp_path / "two.wav", tone(1_500, 0.5)), "right", 2.0, None, track=3),
    ]
    heard = Heard(_render(tmp_path, pieces, format).path)
    assert heard.spans(3, 1_500) == [
        pytest.approx((0.5, 1.0), abs=0.005),
        pytest.approx((2.0, 2.5), abs=0.005),
    ]
    assert np.abs(heard.part(1.2, 1.8)[3]).max() < 0.001


def test_blanks_and_cuts_hold_on_every_track(tmp_path: Path) -> None:
    """A pause leaves no sample on any track, and a cut shortens all of them."""
    made = _render(
        tmp_path, _voices(tmp_path, 5, 4.0), "flac", blank=[Span(1, 2)], cut=[Span(3, 3.5)]
    )
    heard = Heard(made.path)
    assert made.duration_s == heard.duration_s == 3.5
    assert not heard.part(1.0, 2.0).any()
    assert (
        list_stray_voices(heard.part(2.1, 3.5), heard.rate, [_hz(track) for track in range(5)])
        == []
    )


@pytest.mark.parametrize(
    ("format", "count", "made_format"),
    [("mp3", 3, "opus"), ("flac", 9, "opus"), ("wav", 9, "wav"), ("opus", 9, "opus")],
)
def test_a_format_without_room_gives_way_to_opus(
    tmp_path: Path, format: str, count: int, made_format: str
) -> None:
    """No track is lost, the rendition names the true format, and a padded channel is silent."""
    made = _render(tmp_path, _voices(tmp_path, count, 1.0), format)
    assert (made.format, made.extension) == (made_format, made_format)
    assert made.content_type == {"opus": "audio/ogg", "wav": "audio/wav"}[made_format]
    path = made.path.rename(tmp_path / f"made.{made_format}")
    heard = Heard(path)
    assert made.channels == len(heard.channels) == count_channels(count)
    assert (
        list_stray_voices(heard.channels, heard.rate, [_hz(track) for track in range(count)]) == []
    )


def test_a_wav_file_holds_four_gigabytes() -> None:
    """A longer sound becomes Opus, because a WAV file cannot say its size."""
    assert fit_format("wav", 2, 2**31) == "wav"
    assert fit_format("wav", 12, 2**32) == "opus"
    assert fit_format("flac", 8, 2**40) == "flac"


@pytest.mark.parametrize("format", ["opus", "flac", "wav"])
def test_tracks_have_the_same_bytes_every_time(tmp_path: Path, format: str) -> None:
    """Another process renders the same input to the same bytes."""
    pieces = _voices(tmp_path, 5, 5.0)
    first = _render(tmp_path, pieces, format)
    again = tmp_path / "again"
    paths = [piece.path for piece in pieces]
    assert render_elsewhere(paths, again, layout="tracks", format=format)[0] == first.sha256
    assert again.read_bytes() == first.path.read_bytes()


@pytest.mark.parametrize(
    ("count", "order"),
    [(3, "021"), (5, "02134"), (6, "021453"), (7, "0215643"), (8, "02167453")],
)
def test_the_channels_of_opus_have_the_order_of_vorbis(
    tmp_path: Path, count: int, order: str
) -> None:
    """A reader that does not sort channels, unlike FFmpeg and browsers, finds left, centre, right
    and so on, as RFC 7845 says."""
    made = _render(tmp_path, _voices(tmp_path, count), "opus")
    sound, rate = soundfile.read(made.path)
    assert list_stray_voices(sound.T, rate, [_hz(int(track)) for track in order]) == []


@settings(max_examples=30, deadline=None)
@given(
    placed=st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 40_000), st.integers(1, 20_000)),
        min_size=1,
        max_size=8,
    )
)
def test_any_placement_on_tracks(
    tmp_path_factory: pytest.TempPathFactory, placed: list[tuple[int, int, int]]
) -> None:
    """Each sample of a track is the sum of that track's pieces, whatever side they have."""
    folder = tmp_path_factory.mktemp("placed")
    end = max(offset + length for _, offset, length in placed)
    expected = np.zeros((count_channels(1 + max(track for track, _, _ in placed)), end))
    pieces = []
    for number, (track, offset, length) in enumerate(placed):
        samples = np.full(length, 1_000 * (number + 1), np.int16)
        path = write_wav(folder / f"{number}.wav", samples)
        side = ("left", "right", "both")[number % 3]
        pieces.append(Piece(path, side, offset / 8_000, None, track=track))  # type: ignore[arg-type]
        expected[track, offset : offset + length] += samples
    heard = Heard(_render(folder, pieces, "wav").path).channels * 32_768
    assert np.array_equal(heard, expected.clip(-32_768, 32_767))


def test_memory_does_not_grow_with_the_tracks(tmp_path: Path) -> None:
    """Rendering half an hour of eight tracks takes little more memory than ten seconds."""
    most = {
        length_s: peak_mb(tmp_path, length_s, layout="tracks", format="flac", pieces=8)
        for length_s in (10, 1_800)
    }
    assert most[1_800] < 160
    assert most[1_800] - most[10] < 40


# SHA-256 of the WAV files that this sound became before there were tracks.
BEFORE = {
    "dual": "a99fe8471434b98b738b718f2dd004858eaaa3f32f33d52ae0a5f53adfcf209b",
    "mono": "1fb07286909ffdead63ac6fe1d5f6777f38f6c384c7e5395f085fdc6a749bd3e",
}


@pytest.mark.parametrize("layout", ["dual", "mono"])
def test_sides_render_as_before_there_were_tracks(tmp_path: Path, layout: str) -> None:
    """A recording of two sides keeps its bytes, whatever tracks its pieces have."""
    supervisor = piece(tmp_path, "both", tone(600, 1.0), 2.5, span_s=1.05)
    sides = [*both_tones(tmp_path, 5.0), supervisor]
    how = {"layout": layout, "blank": [Span(1, 1.3)], "cut": [Span(3, 3.5)]}
    made = _render(tmp_path, sides, "wav", **how)
    assert made.sha256 == BEFORE[layout]
