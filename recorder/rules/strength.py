"""The strength of a decision: which one holds where people with several decisions talk. Pure.

`never` and `force` come first, by the priority of their rules, and `never` first among equals; then
`record`, then `on_demand`. The default `never` forbids nothing: any other decision is stronger.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from recorder.rules.decide import RANK
from storage.records import Action

RECORDS: frozenset[Action] = frozenset({"force", "record"})
# The priority of a rule that a decision names without it, as older versions stored it.
USUAL_PRIORITY = 100
_BINDING, _RECORDING = RANK["force"], RANK["record"]


class Strength(NamedTuple):
    """The strength of a decision; the lowest one holds for everybody in the conversation.

    Example: `min(strength_of("record", 1), strength_of("never", 100)).forbids` is True.
    """

    rank: int
    priority: int
    is_not_never: bool

    @property
    def forbids(self) -> bool:
        """Whether a rule forbids to record."""
        return self.rank == _BINDING and not self.is_not_never

    @property
    def wants(self) -> bool:
        """Whether a rule, or the default, wants a recording."""
        return self.rank == _RECORDING or (self.rank == _BINDING and self.is_not_never)


def strength_of(action: Action, priority: int | None) -> Strength:
    """Return the strength of a decision; `priority` is that of its rule, None for the default."""
    if action == "never" and priority is None:
        return Strength(len(RANK), 0, False)
    rank = RANK[action]
    usual = USUAL_PRIORITY if priority is None else priority
    return Strength(rank, usual if rank == _BINDING else 0, action != "never")


def priority_of(rule: Mapping[str, Any] | None) -> int | None:
    """Return the priority of a rule as a decision's row names it; None for the default."""
    return rule.get("priority", USUAL_PRIORITY) if rule is not None else None
