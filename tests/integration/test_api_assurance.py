"""The list of missing recordings over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from api_client import NOW, ApiClient, TokenMaker, build_call

from storage.catalogue import calls, decisions, events
from storage.catalogue.engine import Catalogue
from storage.records import Assurance, DecisionRecord

WHOLE = Assurance(10.0, 10.0, None)
SHORT = Assurance(10.0, 4.5, "has-gaps")


@pytest.fixture(scope="module", autouse=True)
def _ended_calls(catalogue: Catalogue, make_token: TokenMaker) -> None:
    """Store three short calls, a complete one and an unexamined one."""
    make_token(name="2001", role="agent", team="one")
    found = {"a": SHORT, "b": SHORT, "c": WHOLE, "d": SHORT, "e": None}
    with catalogue.begin() as tx:
        for place, (name, assurance) in enumerate(found.items()):
            began = NOW + timedelta(minutes=place)
            call = build_call(
                id=f"main-{name}",
                state="ended",
                agent="2001" if name == "a" else "2002",
                started_at=began,
                ended_at=began + timedelta(seconds=10),
            )
            calls.save_calls(tx, [call])
            decisions.save_decisions(tx, [DecisionRecord(call.id, "record", None, "", ())])
            if assurance is not None:
                decisions.save_assurances(tx, {call.id: assurance})


def ids(answered: dict[str, Any]) -> list[str]:
    return [one["call_id"] for one in answered["items"]]


def test_short_calls_are_listed_newest_first(client: ApiClient) -> None:
    """The short calls are listed newest first, part by part."""
    first = client.get("/api/v1/assurance?limit=2").get_json()
    assert ids(first) == ["main-d", "main-b"]
    assert first["items"][0]["covered_s"] == 4.5
    second = client.get(f"/api/v1/assurance?limit=2&cursor={first['next_cursor']}").get_json()
    assert (ids(second), second["next_cursor"]) == (["main-a"], None)


def test_a_team_sees_its_own(client: ApiClient, make_token: TokenMaker) -> None:
    """A supervisor sees the short calls of the team's agents only."""
    sue = client.as_holder_of(make_token(name="sue", role="supervisor", team="one"))
    assert ids(sue.get("/api/v1/assurance").get_json()) == ["main-a"]


def test_each_short_call_is_an_event(catalogue: Catalogue) -> None:
    """Each short call is an event and counts; complete and unexamined calls do not."""
    with catalogue.begin() as tx:
        assert decisions.count_missing(tx) == 3
        missing = [
            one for one in events.list_events(tx, None, 1000) if one.type == "recording.missing"
        ]
        unassured = decisions.list_unassured(
            tx, "main", ended_before=NOW + timedelta(hours=1), limit=9
        )
    assert {one.data["call_id"] for one in missing} == {"main-a", "main-b", "main-d"}
    assert unassured == ("main-e",)


def test_new_moments_are_appended(catalogue: Catalogue) -> None:
    """New moments are appended, the oldest are dropped, and `announced` is kept."""
    moments = [{"moment": "time", "at": str(n)} for n in range(decisions.MOST_MOMENTS + 2)]
    for moment in moments:
        with catalogue.begin() as tx:
            said = DecisionRecord("main-moments", "record", None, moment["at"], (moment,))
            decisions.save_decisions(tx, [said])
            if moment is moments[0]:
                decisions.add_announced(tx, "main-moments", ["c1"])
    with catalogue.begin() as tx:
        kept = decisions.find_decision(tx, "main-moments")
    assert kept is not None
    assert list(kept.moments) == moments[2:]
    assert (kept.reason, kept.announced) == (moments[-1]["at"], ("c1",))


def test_a_decision_keeps_its_assurance(catalogue: Catalogue) -> None:
    """A later evaluation does not change a stored assurance."""
    with catalogue.begin() as tx:
        decisions.save_decisions(tx, [DecisionRecord("main-a", "never", None, "", ())])
        assert decisions.count_missing(tx) == 3
