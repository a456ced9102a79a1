"""The events that an owner may see, on a stream and by webhook."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from storage.catalogue.rights import Rights
from storage.permissions import EVENTS, PERMISSIONS, permissions_of
from storage.records import EventRecord, TokenRecord
from storage.visibility import is_own, kind_of, sees

AT = datetime(2026, 11, 30, tzinfo=UTC)


BOSS, CHIEF = UUID(int=1), UUID(int=2)


def rights(
    *, name: str = "boss", scopes: tuple[str, ...] = tuple(PERMISSIONS), agents: object = None
) -> Rights:
    """Return the rights of a token with these scopes, limited to these agents."""
    token = TokenRecord(BOSS, name, "service", None, scopes)
    return Rights(token, permissions_of(token), agents)  # type: ignore[arg-type]


def event(
    type_: str, agent: str | None = None, *, owner: UUID | None = None, **data: object
) -> EventRecord:
    """Return an event about the thing with the id `x`, which this owner made."""
    return EventRecord("1-1", type_, AT, agent, {"id": "x", **data}, owner)


@pytest.mark.parametrize("kind", list(EVENTS))
def test_each_kind_needs_its_permission(kind: str) -> None:
    """An owner without a team sees every event of a kind exactly if it has the permission."""
    other = [one for one in PERMISSIONS if one != EVENTS[kind]]
    assert sees(rights(), event(f"{kind}.changed"))
    assert not sees(rights(scopes=tuple(other)), event(f"{kind}.changed"))
    assert not sees(rights(scopes=(EVENTS[kind],)), event(f"{kind}.changed"))  # no events.read


def test_an_unknown_kind_is_hidden() -> None:
    """An event without a known permission is shown to nobody."""
    assert not sees(rights(), event("secret.told"))


@pytest.mark.parametrize(
    ("shown", "about"),
    [
        (True, event("call.up", "2001")),
        (False, event("call.up", "2002")),
        (False, event("call.up")),
        (False, event("rule.changed")),
        (True, event("spy.live", "2002", owner=BOSS, supervisor="boss", state="live")),
        (False, event("spy.live", "2002", owner=CHIEF, supervisor="boss", state="live")),
        (True, event("conference.opened", owner=BOSS)),
        (False, event("conference.opened", owner=CHIEF, created_by="boss")),
        (False, event("conference.opened", created_by="boss")),
        (True, event("campaign.running", owner=BOSS)),
        (False, event("recording.stored", "2002", created_by="boss")),
    ],
)
def test_a_team_limits_the_events(shown: bool, about: EventRecord) -> None:
    """A member of a team sees the events of its agents, and of its own things."""
    assert sees(rights(agents=frozenset({"2001"})), about) is shown


def test_calls_of_own_spies_and_conferences_with_own_agents_show() -> None:
    """A stream passes their ids; the ids of one kind open no event of another kind."""
    mine = rights(agents=frozenset[str]())
    assert sees(mine, event("call.up"), calls={"x"})
    assert not sees(mine, event("call.up"), conferences={"x"})
    assert sees(mine, event("conference.opened"), conferences={"x"})
    assert not sees(mine, event("recording.stored"), calls={"x"}, conferences={"x"})


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        (["note"], False),
        (["hold", "bookmarks"], False),
        (["hold", "tags"], True),
        (["retention_days"], True),
        (None, True),
    ],
)
def test_an_agent_hears_of_no_remark(changed: list[str] | None, shown: bool) -> None:
    """An agent gets no event of a change of remarks alone; everybody else gets it."""
    about = event("recording.changed", "2001", changed=changed)
    token = TokenRecord(UUID(int=1), "2001", "agent", None)
    agent = Rights(token, permissions_of(token), frozenset({"2001"}))
    assert sees(agent, about) is shown
    assert sees(rights(), about)


def test_the_kind_of_a_type_and_of_a_pattern() -> None:
    """A type and its pattern have the same kind."""
    assert kind_of("call.ended") == kind_of("call.*") == "call"
    assert not is_own(rights(), event("call.up", supervisor="boss"))
