"""List the changes between the versions of a rule. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from api.fields.rules import Terms
from storage.records import RuleRecord


@dataclass(frozen=True, slots=True)
class Change:
    """One changed field of a rule; `before` is None in the first version."""

    key: str
    before: str | None
    after: str


def history_of(versions: Sequence[RuleRecord]) -> list[tuple[RuleRecord, list[Change]]]:
    """Return each version with its changes, in the given order: newest first."""
    found: list[tuple[RuleRecord, list[Change]]] = []
    for after, before in zip_longest(versions, versions[1:]):
        changes: list[Change] = []
        for key, field in Terms.model_fields.items() if not after.deleted else ():
            value = getattr(after, key)
            if before is None and _text(value) != _text(field.default):
                changes.append(Change(key, None, _text(value)))
            elif before is not None and getattr(before, key) != value:
                changes.append(Change(key, _text(getattr(before, key)), _text(value)))
        found.append((after, changes))
    return found


def _text(value: object) -> str:
    if isinstance(value, tuple):
        value = ", ".join(value)
    if isinstance(value, float):
        value = f"{value:g}"
    return "-" if value in (None, "") else str(value)
