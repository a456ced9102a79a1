"""The packets that flow to the parties of one supervisor."""

import pytest

from recorder.spy.reach import Counts, PacketFlow

LOOK_S = 0.3


def look_at(*counts: Counts) -> list[bool]:
    """Return for each look, one after the other, whether nobody hears the supervisor."""
    flow = PacketFlow(0.0)
    return [flow.look(one, LOOK_S * number) for number, one in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "still"),
    [
        ([{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}], [False] * 4),
        ([{"a": 5}, {"a": 5}, {"a": 5}, {"a": 5}], [False, False, True, True]),
        ([{"a": 5}, {"a": 5}, {"a": 6}, {"a": 6}], [False] * 4),
        ([{"a": 5, "c": 1}, {"a": 5, "c": 2}, {"a": 5, "c": 3}], [False] * 3),
        ([{"a": None}] * 4, [False] * 4),
        ([{}] * 3, [False, False, True]),
        ([{"a": 5}, {"a": 5}, {"b": 5}, {"b": 6}], [False] * 4),
    ],
    ids=["flowing", "still", "one-late", "one-of-two", "uncounted", "nobody", "new-leg"],
)
def test_when_nobody_hears(counts: list[Counts], still: list[bool]) -> None:
    """Nobody hears the supervisor after half a second in which no party was sent a packet."""
    assert look_at(*counts)[1:] == still[1:]


def test_when_somebody_hears_again() -> None:
    """After silence the frames must flow for half a second: single packets count as silence."""
    still = [{"a": 5}] * 3
    assert look_at(*still, {"a": 6}, {"a": 7}, {"a": 8}, {"a": 9})[2:] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert look_at(*still, {"a": 6}, {"a": 6}, {"a": 7}, {"a": 7})[2:] == [True] * 5
