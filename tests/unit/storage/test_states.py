"""The only moves between states.

The test repeats the moves, so that a change of the table must change this page too.
"""

from collections.abc import Mapping

import pytest

from storage import states
from storage.records import (
    CallbackState,
    CampaignState,
    DialState,
    MemberState,
    RecordingState,
    SpyState,
)

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
MEMBER_MOVES: dict[MemberState, set[MemberState]] = {
    "requested": {"ringing", "waiting", "in", "left"},
    "ringing": {"waiting", "in", "left"},
    "waiting": {"in", "left"},
    "in": {"left"},
    "left": set(),
}


@pytest.mark.parametrize(
    ("table", "moves"),
    [
        pytest.param(states.NEXT, RECORDING_MOVES, id="recording"),
        pytest.param(states.SPY_NEXT, SPY_MOVES, id="spy"),
        pytest.param(states.DIAL_NEXT, DIAL_MOVES, id="dial"),
        pytest.param(states.CALLBACK_NEXT, CALLBACK_MOVES, id="call-back"),
        pytest.param(states.CAMPAIGN_NEXT, CAMPAIGN_MOVES, id="campaign"),
        pytest.param(states.MEMBER_NEXT, MEMBER_MOVES, id="member"),
    ],
)
def test_each_has_these_moves_alone(
    table: Mapping[str, frozenset[str]], moves: dict[str, set[str]]
) -> None:
    """A table has these states and moves, and no other; `sources_of` is its inverse."""
    assert table == moves
    for target in moves:
        leading = {state for state, targets in moves.items() if target in targets}
        assert states.sources_of(table, target) == leading


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


@pytest.mark.parametrize("state", RECORDING_MOVES)
def test_every_recording_can_end(state: RecordingState) -> None:
    """Each state is an end, or leads to one."""
    seen: set[RecordingState] = {state}
    while more := {target for known in seen for target in RECORDING_MOVES[known]} - seen:
        seen |= more
    assert seen & states.ENDS
