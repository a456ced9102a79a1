"""Calls that ended are compared with their recordings, once their audio is measured."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call, build_recording
from uuid_utils.compat import uuid7

from recorder.recording.assurance_loop import assure_ended_calls
from storage.catalogue import calls, decisions, events, recordings
from storage.catalogue.engine import Catalogue
from storage.records import DecisionRecord, RecordingState
from tests.legs import leg


def end_call(catalogue: Catalogue, pbx: str, ended_ago_s: float, **fields: Any) -> str:
    """Add a call of a minute to be recorded, and its recording with these fields, if any."""
    ended_at = datetime.now(UTC) - timedelta(seconds=ended_ago_s)
    started_at = ended_at - timedelta(seconds=60)
    times = {"joined_at": started_at.isoformat(), "left_at": ended_at.isoformat()}
    call = build_call(
        id=f"{pbx}-{uuid4()}",
        pbx=pbx,
        state="ended",
        started_at=started_at,
        ended_at=ended_at,
        channels=(leg("c", party="customer", **times), leg("a", **times)),
    )
    moment = {"at": started_at.isoformat(), "action": "record", "rule": None}
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        decisions.save_decisions(tx, [DecisionRecord(call.id, "record", None, "", (moment,))])
        if fields:
            made = {"id": uuid7(), "call_id": call.id, "pbx": pbx, "trigger": "rule"}
            spans = {"started_at": started_at, "ended_at": ended_at}
            recordings.create_recording(tx, build_recording(**made, **spans, **fields))
    return call.id


def missing(catalogue: Catalogue, call_id: str) -> list[str]:
    """Return the causes of the missing audio that were reported for a call."""
    with catalogue.begin() as tx:
        found = events.list_events(tx, None, 10_000)
    return [
        one.data["cause"]
        for one in found
        if one.type == "recording.missing" and one.data["call_id"] == call_id
    ]


def is_assured(catalogue: Catalogue, pbx: str) -> bool:
    """Whether no ended call of the PBX waits for its assurance."""
    with catalogue.begin() as tx:
        now = datetime.now(UTC)
        return not decisions.list_unassured(tx, pbx, ended_before=now, limit=10)


@pytest.fixture
def pbx() -> str:
    """Return the name of a PBX of the test's own."""
    return f"pbx{uuid4().hex}"


def test_a_call_without_a_recording_is_reported(catalogue: Catalogue, pbx: str) -> None:
    """A call that should have been recorded and was not is reported once."""
    call_id = end_call(catalogue, pbx, 10)
    assure_ended_calls(catalogue, pbx)
    assure_ended_calls(catalogue, pbx)
    assert missing(catalogue, call_id) == ["never-began"]


def test_a_whole_recording_is_not_reported(catalogue: Catalogue, pbx: str) -> None:
    """A stored recording of the whole call lacks nothing."""
    call_id = end_call(catalogue, pbx, 10, state="stored")
    assure_ended_calls(catalogue, pbx)
    assert is_assured(catalogue, pbx)
    assert missing(catalogue, call_id) == []


def test_a_call_that_has_just_ended_waits(catalogue: Catalogue, pbx: str) -> None:
    """Within two seconds of its end a call is not assured: its last events may be on the way."""
    end_call(catalogue, pbx, 0.5)
    assure_ended_calls(catalogue, pbx)
    assert not is_assured(catalogue, pbx)


@pytest.mark.parametrize("state", ["recording", "captured"])
def test_a_recording_is_measured_first(
    catalogue: Catalogue, pbx: str, state: RecordingState
) -> None:
    """A call waits a minute for a worker that finishes its recording, and no longer."""
    end_call(catalogue, pbx, 55, state=state)
    assure_ended_calls(catalogue, pbx)
    assert not is_assured(catalogue, pbx)
    late = end_call(catalogue, f"{pbx}-late", 65, state=state)
    assure_ended_calls(catalogue, f"{pbx}-late")
    assert is_assured(catalogue, f"{pbx}-late")
    assert missing(catalogue, late) == ["has-gaps"]


def end_conference(catalogue: Catalogue, pbx: str, **second: Any) -> list[str]:
    """Add two calls of one leg each that talked for a minute; the first one was recorded."""
    ended_at = datetime.now(UTC) - timedelta(seconds=10)
    started_at = ended_at - timedelta(seconds=60)
    stays = [["room", started_at.isoformat(), ended_at.isoformat()]]
    times = {"joined_at": started_at.isoformat(), "left_at": ended_at.isoformat()}
    ids = [f"{pbx}-{uuid4()}" for _ in range(2)]
    made = [
        build_call(
            id=id_,
            pbx=pbx,
            state="ended",
            started_at=started_at,
            ended_at=ended_at,
            met=tuple(other for other in ids if other != id_),
            channels=(leg(id_, stays=stays, **times),),
        )
        for id_ in ids
    ]
    moment = {"at": started_at.isoformat(), "action": "record", "rule": None}
    recording = build_recording(
        id=uuid7(),
        call_id=ids[0],
        pbx=pbx,
        trigger="rule",
        state="stored",
        started_at=started_at,
        ended_at=ended_at,
    )
    with catalogue.begin() as tx:
        calls.save_calls(tx, [made[0], replace(made[1], **second)])
        decisions.save_decisions(
            tx, [DecisionRecord(id_, "record", None, "", (moment,)) for id_ in ids]
        )
        recordings.create_recording(tx, recording)
    return ids


def test_the_recording_of_another_call_covers_a_call(catalogue: Catalogue, pbx: str) -> None:
    """A conference member without a recording of its own lacks nothing."""
    ids = end_conference(catalogue, pbx)
    assure_ended_calls(catalogue, pbx)
    assert is_assured(catalogue, pbx)
    assert [missing(catalogue, id_) for id_ in ids] == [[], []]


def test_a_call_waits_for_those_that_it_met(catalogue: Catalogue, pbx: str) -> None:
    """While a member of the conference lives, nobody knows what its recording will hold."""
    ids = end_conference(catalogue, pbx, state="up", ended_at=None)
    with catalogue.begin() as tx:
        assert decisions.list_unassured(tx, pbx, ended_before=datetime.now(UTC), limit=9) == ()
        ended = replace(calls.get_call(tx, ids[1]), state="ended", ended_at=at_last())
        calls.save_calls(tx, [ended])
        assert set(
            decisions.list_unassured(tx, pbx, ended_before=datetime.now(UTC), limit=9)
        ) == set(ids)


def at_last() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=5)


def test_calls_that_met_are_compared_again_together(catalogue: Catalogue, pbx: str) -> None:
    """A recording that is finished at last may cover the people of several calls."""
    ids = end_conference(catalogue, pbx)
    assure_ended_calls(catalogue, pbx)
    with catalogue.begin() as tx:
        decisions.forget_assurance(tx, ids[0])
        found = decisions.list_unassured(tx, pbx, ended_before=datetime.now(UTC), limit=9)
    assert set(found) == set(ids)
