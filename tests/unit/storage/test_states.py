"""The states of recordings and spies only go forward, and always to an end.

The test repeats the moves, so that a change of the table must change this page too.
"""

import pytest

from storage import states
from storage.records import CallbackState, CampaignState, DialState, RecordingState, SpyState

RECORDING_MOVES: dict[RecordingState, set[RecordingState]] = {
    "requested": {"recording", "aborted", "discarded", "failed"},
    "recording": {"paused", "captured", "discarded", "failed"},
    "paused": {"recording", "captured", "discarded", "failed"},
    "captured": {"stored", "failed"},
    "stored": {"purged"},
    "purged": set(),
    "aborted": set(),
    "discarded": set(),
    "failed": set(),
}
SPY_MOVES: dict[SpyState, set[SpyState]] = {
    "requested": {"ringing", "live", "ended"},
    "ringing": {"live", "ended"},
    "live": {"ended"},
    "ended": set(),
}
DIAL_MOVES: dict[DialState, set[DialState]] = {
    "requested": {"ringing", "dialling", "up", "ended"},
    "ringing": {"dialling", "up", "ended"},
    "dialling": {"up", "ended"},
    "up": {"ended"},
    "ended": set(),
}
CALLBACK_MOVES: dict[CallbackState, set[CallbackState]] = {
    "waiting": {"waiting", "dialling", "cancelled", "failed"},
    "dialling": {"waiting", "done", "cancelled", "failed"},
    "done": set(),
    "cancelled": set(),
    "failed": set(),
}


CAMPAIGN_MOVES: dict[CampaignState, set[CampaignState]] = {
    "draft": {"running"},
    "running": {"paused", "stopped", "done"},
    "paused": {"running", "stopped"},
    "stopped": set(),
    "done": set(),
}


@pytest.mark.parametrize("state", CAMPAIGN_MOVES)
def test_a_campaign_has_these_moves_alone(state: CampaignState) -> None:
    """A campaign may pause until its end; the moves lead there and nowhere else."""
    assert states.CAMPAIGN_NEXT[state] == CAMPAIGN_MOVES[state]
    assert set(states.CAMPAIGN_NEXT) == set(CAMPAIGN_MOVES)
    leading = {one for one, targets in CAMPAIGN_MOVES.items() if state in targets}
    assert states.campaign_sources(state) == leading


@pytest.mark.parametrize("state", RECORDING_MOVES)
def test_a_recording_has_these_moves_alone(state: RecordingState) -> None:
    """A recording moves from each state to the states of the contract, and to no other."""
    assert states.NEXT[state] == RECORDING_MOVES[state]
    assert set(states.NEXT) == set(RECORDING_MOVES)


@pytest.mark.parametrize("state", SPY_MOVES)
def test_a_spy_has_these_moves_alone(state: SpyState) -> None:
    """A spy moves from each state to the states of the contract, and to no other."""
    assert states.SPY_NEXT[state] == SPY_MOVES[state]
    assert set(states.SPY_NEXT) == set(SPY_MOVES)


@pytest.mark.parametrize("state", DIAL_MOVES)
def test_a_dial_has_these_moves_alone(state: DialState) -> None:
    """A dial moves forward alone, and may skip states; the moves lead there and nowhere else."""
    assert states.DIAL_NEXT[state] == DIAL_MOVES[state]
    assert set(states.DIAL_NEXT) == set(DIAL_MOVES)
    leading = {one for one, targets in DIAL_MOVES.items() if state in targets}
    assert states.dial_sources(state) == leading


@pytest.mark.parametrize("state", CALLBACK_MOVES)
def test_a_call_back_has_these_moves_alone(state: CallbackState) -> None:
    """A call-back goes back and forth until its end; the moves lead there and nowhere else."""
    assert states.CALLBACK_NEXT[state] == CALLBACK_MOVES[state]
    assert set(states.CALLBACK_NEXT) == set(CALLBACK_MOVES)
    leading = {one for one, targets in CALLBACK_MOVES.items() if state in targets}
    assert states.callback_sources(state) == leading


def test_a_live_recording_may_still_capture() -> None:
    """A recording is live from its request to its end, in a pause too."""
    assert {"requested", "recording", "paused"} == states.LIVE


def test_a_deleted_recording_has_no_audio() -> None:
    """The audio of a discarded or purged recording is gone; a legal hold forbids both."""
    assert {"discarded", "purged"} == states.DELETED


def test_a_recording_ends_in_these_states() -> None:
    """Stored audio, purged audio, no audio, or a failure with a reason: there is no other end."""
    assert {"stored", "purged", "aborted", "discarded", "failed"} == states.ENDS


def test_a_live_spy_may_still_hear() -> None:
    """A spy is live until it has ended, even while its phone rings."""
    assert {"requested", "ringing", "live"} == states.SPY_LIVE


@pytest.mark.parametrize("target", RECORDING_MOVES)
def test_sources_are_the_inverse_of_the_moves(target: RecordingState) -> None:
    """`sources` returns the states that lead to a target."""
    leading = {state for state, targets in RECORDING_MOVES.items() if target in targets}
    assert states.sources(target) == leading


@pytest.mark.parametrize("target", SPY_MOVES)
def test_spy_sources_are_the_inverse_of_the_moves(target: SpyState) -> None:
    """`spy_sources` returns the states that lead to a target."""
    leading = {state for state, targets in SPY_MOVES.items() if target in targets}
    assert states.spy_sources(target) == leading


@pytest.mark.parametrize("state", RECORDING_MOVES)
def test_every_recording_can_end(state: RecordingState) -> None:
    """Each state is an end, or leads to one."""
    seen: set[RecordingState] = {state}
    while more := {target for known in seen for target in RECORDING_MOVES[known]} - seen:
        seen |= more
    assert seen & states.ENDS
