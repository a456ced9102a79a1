"""The order of decisions: which one holds for people who talk."""

import pytest

from recorder.rules.strength import priority_of, strength_of
from storage.records import Action


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        (("never", 1), ("force", 2)),
        (("force", 1), ("never", 2)),
        (("never", 5), ("force", 5)),
        (("force", 100), ("record", 1)),
        (("never", 100), ("record", 1)),
        (("record", 100), ("on_demand", 1)),
        (("record", None), ("on_demand", 1)),
        (("on_demand", 100), ("never", None)),
    ],
)
def test_the_stronger_of_two(
    stronger: tuple[Action, int | None], weaker: tuple[Action, int | None]
) -> None:
    """The stronger decision holds; the default `never` is the weakest of all."""
    assert strength_of(*stronger) < strength_of(*weaker)


@pytest.mark.parametrize(
    ("action", "priority", "wants", "forbids"),
    [
        ("force", 1, True, False),
        ("record", 1, True, False),
        ("record", None, True, False),
        ("on_demand", 1, False, False),
        ("never", 1, False, True),
        ("never", None, False, False),
    ],
)
def test_what_a_decision_means(
    action: Action, priority: int | None, wants: bool, forbids: bool
) -> None:
    """A rule, or the default, may want a recording; a rule alone can forbid one."""
    strength = strength_of(action, priority)
    assert (strength.wants, strength.forbids) == (wants, forbids)


def test_the_priority_in_a_row() -> None:
    """A row of an older version names no priority; the default has none at all."""
    assert [priority_of(one) for one in ({"priority": 7}, {"name": "old"}, None)] == [7, 100, None]
