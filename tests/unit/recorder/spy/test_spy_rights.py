"""The modes that the owner of a spy may use, now."""

from dataclasses import replace
from uuid import UUID

import pytest

from recorder.spy.rights import modes_of_spy, modes_on
from storage.catalogue.rights import Rights
from storage.permissions import permissions_of
from storage.records import AfterTransfer, CallRecord, Mode, TokenRecord
from tests.legs import ZERO
from tests.spies import spy

ALL: tuple[Mode, ...] = ("listen", "whisper", "barge")
ANN = TokenRecord(UUID(int=1), "ann", "supervisor", "one")
ROOT = TokenRecord(UUID(int=2), "root", "admin", None)
TEAM = frozenset({"2001", "2002"})


def rights(owner: TokenRecord | None, visible: frozenset[str] | None) -> Rights | None:
    """Return the rights of an owner who sees these agents; None without an owner."""
    return Rights(owner, permissions_of(owner), visible) if owner is not None else None


def call(agent: str | None) -> CallRecord:
    """Return a call of this agent."""
    return CallRecord("main-1.0", "main", "up", "inbound", ZERO, agent=agent)


@pytest.mark.parametrize(
    ("owner", "visible", "agent", "modes"),
    [
        (ROOT, None, "2003", ALL),
        (ROOT, None, None, ALL),
        (ANN, TEAM, "2001", ALL),
        (ANN, TEAM, "2003", ()),
        (ANN, TEAM, None, ()),
        (ANN, frozenset(), "2001", ()),
        (None, None, "2001", ()),
        (replace(ANN, without=("spies.barge",)), TEAM, "2001", ("listen", "whisper")),
        (replace(ANN, without=("spies.read",)), TEAM, "2001", ()),
        (replace(ANN, role="compliance"), None, "2001", ()),
        (replace(ANN, role="agent"), frozenset({"ann"}), "ann", ()),
    ],
)
def test_modes_on_a_call(
    owner: TokenRecord | None,
    visible: frozenset[str] | None,
    agent: str | None,
    modes: tuple[Mode, ...],
) -> None:
    """The owner needs the permission of each mode, and the right to see the agent."""
    assert modes_on(rights(owner, visible), agent) == modes


@pytest.mark.parametrize("after_transfer", ["end", "listen"])
@pytest.mark.parametrize(
    ("owner", "visible", "agent", "modes"),
    [
        (ROOT, None, "2003", ALL),  # of all teams
        (ANN, TEAM, "2001", ALL),  # the first agent
        (ANN, TEAM, "2002", ALL),  # another agent of the team
        (ANN, TEAM, None, ALL),  # between two agents, in a queue
        (ANN, TEAM - {"2001"}, None, ()),  # the agent is in another team now
        (ANN, TEAM - {"2001"}, "2001", ()),
        (ANN, frozenset({"2003"}), "2003", ALL),  # the owner went to the agent's team
        (None, None, "2001", ()),  # the owner is gone
    ],
)
def test_modes_of_a_spy(
    owner: TokenRecord | None,
    visible: frozenset[str] | None,
    agent: str | None,
    modes: tuple[Mode, ...],
    after_transfer: AfterTransfer,
) -> None:
    """A spy has the modes that its owner may use on the present agent of the call."""
    one = spy(agent="2001")
    found = modes_of_spy(one, call(agent), rights(owner, visible), after_transfer=after_transfer)
    assert found == modes


@pytest.mark.parametrize(
    ("after_transfer", "without", "modes"),
    [("end", (), ()), ("listen", (), ("listen",)), ("listen", ("spies.listen",), ())],
)
def test_a_call_of_another_team(
    after_transfer: AfterTransfer, without: tuple[str, ...], modes: tuple[Mode, ...]
) -> None:
    """After a transfer to another team a spy ends, or only listens, if its owner may listen."""
    owner = replace(ANN, without=without)
    found = modes_of_spy(
        spy(agent="2001"), call("2003"), rights(owner, TEAM), after_transfer=after_transfer
    )
    assert found == modes


def test_a_transfer_gives_no_right_back() -> None:
    """An owner who may not hear the first agent any more hears no agent of another team either."""
    team = frozenset({"2002"})
    seen = rights(ANN, team)
    assert modes_of_spy(spy(agent="2001"), call("2003"), seen, after_transfer="listen") == ()


def test_a_spy_that_follows_its_agent() -> None:
    """The right to hear the agent counts, whoever else is on the agent's call."""
    one = spy(agent="2001", follow="agent")
    assert modes_of_spy(one, call("2003"), rights(ANN, TEAM), after_transfer="end") == ALL
    other_team = TEAM - {"2001"}
    assert modes_of_spy(one, call("2002"), rights(ANN, other_team), after_transfer="listen") == ()
    unknown = replace(one, agent=None)
    assert modes_of_spy(unknown, call("2003"), rights(ANN, TEAM), after_transfer="end") == ()


def test_a_spy_that_does_not_know_its_agent_yet() -> None:
    """Before a spy that follows an agent has one, the agent of its call counts."""
    one = spy(agent=None, follow="agent")
    assert modes_of_spy(one, call("2001"), rights(ANN, TEAM), after_transfer="end") == ALL
    assert modes_of_spy(one, call("2003"), rights(ANN, TEAM), after_transfer="end") == ()
