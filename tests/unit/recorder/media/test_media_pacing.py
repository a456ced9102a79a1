"""Frames that arrive too fast or too late."""

from recorder.media.pacing import FRAME_BYTES, FRAME_S, Arrears, Framer, Pace


def test_frames_are_cut_however_the_bytes_come() -> None:
    """Messages of any length give whole frames: no byte is lost or doubled."""
    said = bytes(range(256)) * 10
    framer = Framer()
    pieces = [said[:100], said[100:1300], said[1300:]]
    frames = [frame for piece in pieces for frame in framer.cut(piece)]
    assert {len(frame) for frame in frames} == {FRAME_BYTES}
    assert b"".join(frames) == said[: 4 * FRAME_BYTES]


def test_a_rest_comes_before_a_whole_frame() -> None:
    """A message of a frame's length is cut too while bytes of an earlier message wait."""
    said = bytes(range(256)) * 3
    framer = Framer()
    assert framer.cut(said[:100]) == []
    assert framer.cut(said[100 : 100 + FRAME_BYTES]) == [said[:FRAME_BYTES]]


def test_a_clock_may_start_at_zero() -> None:
    """The first frame goes on, whatever the clock shows."""
    assert Pace().admits(0.0)


def test_a_steady_microphone_is_not_touched() -> None:
    """Frames on time, and frames early by normal jitter, all go on."""
    pace = Pace()
    jitter = (0.0, 0.015, -0.015)
    assert all(pace.admits(10 + n * FRAME_S + jitter[n % 3]) for n in range(3000))


def test_a_burst_is_dropped() -> None:
    """After a stall three frames go on; the rest of the burst is dropped and adds no delay."""
    pace = Pace()
    assert [pace.admits(10.0) for _ in range(50)] == [True] * 3 + [False] * 47
    assert pace.dropped == 47


def test_a_fast_clock_adds_no_delay() -> None:
    """A microphone 0.5 % too fast loses one frame in 200, no more, once it is 60 ms ahead."""
    pace = Pace()
    admitted = [pace.admits(10 + n * FRAME_S / 1.005) for n in range(3000)]
    assert 10 <= pace.dropped <= 15
    assert all(admitted[:400])


def test_a_stream_in_time_is_not_in_arrears() -> None:
    """Jitter that comes and goes starts no stream again."""
    arrears = Arrears()
    late = (0.0, 0.05, 0.03, 0.0)
    assert not any(arrears.count(n * FRAME_S + late[n % 4]) for n in range(3000))


def test_missing_frames_restart_the_stream() -> None:
    """Three frames that stay missing for two seconds start the stream again, once."""
    arrears = Arrears()
    restarts = [n for n in range(1000) if arrears.count(n * FRAME_S + (0.06 if n >= 100 else 0))]
    assert len(restarts) == 1
    assert 200 <= restarts[0] <= 202


def test_two_missing_frames_are_ignored() -> None:
    """40 ms are no reason to interrupt a listener."""
    arrears = Arrears()
    assert not any(arrears.count(n * FRAME_S + (0.04 if n >= 100 else 0)) for n in range(1000))


def test_two_seconds_of_delay_are_enough() -> None:
    """The stream starts again as soon as it has been late for two seconds."""
    arrears = Arrears()
    assert [arrears.count(now) for now in (0.0, 64.0, 66.0)] == [False, False, True]
    assert not arrears.count(66.0), "the count starts again"
