"""The changes between the versions of a rule."""

from api.pages.history import Change, history_of
from storage.records import RuleRecord

FIRST = RuleRecord(
    id="r",
    version=1,
    name="support",
    when='did == "3000"',
    action="record",
    priority=100,
    origin="api",
    tags=("a",),
)


def test_each_version_lists_its_changes() -> None:
    """The first version lists its values, the next the differences, a deletion nothing."""
    second = FIRST.replace(version=2, tags=("a", "b"), sample_percent=12.5, enabled=False, when="")
    last = second.replace(version=3, deleted=True)
    history = history_of((last, second, FIRST))
    assert [one.version for one, _ in history] == [3, 2, 1]
    (_, ended), (_, changed), (_, begun) = history
    assert ended == []
    assert changed == [
        Change("when", 'did == "3000"', "-"),
        Change("enabled", "True", "False"),
        Change("sample_percent", "100", "12.5"),
        Change("tags", "a", "a, b"),
    ]
    assert Change("when", None, 'did == "3000"') in begun
    assert Change("tags", None, "a") in begun
    assert {change.before for change in begun} == {None}


def test_a_large_number_is_written_out() -> None:
    """A priority of a million is written in digits."""
    changed = history_of((FIRST.replace(version=2, priority=1_000_000), FIRST))[0][1]
    assert changed == [Change("priority", "100", "1000000")]


def test_a_configured_rule_has_no_history() -> None:
    """A rule of the configuration has no history."""
    assert history_of(()) == []
