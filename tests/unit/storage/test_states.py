"""The states of recordings and spies only go forward, and always to an end."""

from collections.abc import Mapping

import pytest

from storage import states


def reachable(state: str, ways: Mapping[str, frozenset[str]] = states.NEXT) -> set[str]:
    seen: set[str] = set()
    todo = [state]
    while todo:
        for target in ways[todo.pop()]:
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def test_every_state_has_its_followers() -> None:
    """Every state that can be reached is described itself."""
    assert set().union(*states.NEXT.values()) <= set(states.NEXT)


def test_only_a_pause_goes_back() -> None:
    """No state can be reached from itself, but recording and paused from one another."""
    circular = {state for state in states.NEXT if state in reachable(state)}
    assert circular == {"recording", "paused"}


@pytest.mark.parametrize("state", sorted(states.NEXT))
def test_every_recording_ends(state: str) -> None:
    """From every state an end can be reached."""
    assert state in states.ENDS or reachable(state) & states.ENDS


def test_nothing_discarded_comes_back() -> None:
    """The ends that keep no audio have no way out."""
    assert not any(states.NEXT[state] for state in ("aborted", "discarded", "failed", "purged"))


def test_sources_are_the_inverse_of_next() -> None:
    """`sources` names exactly the states that lead to a target."""
    assert states.sources("captured") == {"recording", "paused"}
    assert states.sources("stored") == {"captured"}
    assert states.sources("requested") == frozenset()


def test_a_spy_never_goes_back() -> None:
    """No state of a spy can be reached from itself."""
    assert not {state for state in states.SPY_NEXT if state in reachable(state, states.SPY_NEXT)}


@pytest.mark.parametrize("state", sorted(states.SPY_LIVE))
def test_every_spy_ends(state: str) -> None:
    """From every state that lives the end can be reached, at once."""
    assert "ended" in states.SPY_NEXT[state]
    assert set(states.SPY_NEXT) - states.SPY_LIVE == {"ended"}


def test_a_browser_does_not_ring() -> None:
    """A spy becomes live from `requested` too."""
    assert states.spy_sources("live") == {"requested", "ringing"}
