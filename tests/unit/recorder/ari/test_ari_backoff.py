"""The pure parts of the event stream: delays and liveness."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from recorder.ari.stream import Pulse, backoff


def test_delays_double_up_to_their_limit() -> None:
    """Without jitter the delays are 0.1, 0.2, 0.4 … and never more than 10 s."""
    longest = list(islice(backoff(uniform=lambda low, high: high), 10))
    assert longest == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


@given(first_s=st.floats(0.01, 1.0), longest_s=st.floats(1.0, 60.0))
def test_every_delay_is_within_the_limit(first_s: float, longest_s: float) -> None:
    """Jitter only ever shortens a delay."""
    assert all(0.0 <= delay <= longest_s for delay in islice(backoff(first_s, longest_s), 50))


def test_delays_are_spread_over_the_whole_range() -> None:
    """Two clients of a lost PBX do not reconnect at the same moment."""
    delays = list(islice(backoff(first_s=10.0), 200))
    assert min(delays) < 2.0
    assert max(delays) > 8.0


def test_a_ping_is_due_at_each_interval() -> None:
    """The first ping is due after one interval, the next one an interval later."""
    pulse = Pulse(interval_s=5, timeout_s=2, now=100)
    assert not pulse.is_due(104.9)
    assert pulse.is_due(105)
    pulse.pinged(105)
    assert not pulse.is_due(109.9)
    assert pulse.is_due(110)


def test_silence_after_a_ping_is_a_loss() -> None:
    """Silence is normal without a ping, and a loss after a ping and its time-out."""
    pulse = Pulse(interval_s=5, timeout_s=2, now=100)
    assert not pulse.is_lost(1000)
    pulse.pinged(105)
    assert not pulse.is_lost(106.9)
    assert pulse.is_lost(107)


def test_a_later_ping_does_not_delay_the_loss() -> None:
    """If pings come faster than the time-out, the first unanswered ping counts."""
    pulse = Pulse(interval_s=1, timeout_s=3, now=0)
    for now in (1, 2, 3):
        pulse.pinged(now)
    assert pulse.is_lost(4)


def test_any_frame_is_a_sign_of_life() -> None:
    """A pong that waits behind many events does not end a busy connection."""
    pulse = Pulse(interval_s=5, timeout_s=2, now=100)
    pulse.pinged(105)
    pulse.heard()
    assert not pulse.is_lost(109)
