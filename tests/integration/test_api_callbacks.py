"""Call-backs and the do-not-call list over HTTP: permissions, answers, and the audit trail."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from api_client import ApiClient, TokenMaker, build_call, build_recording, problem, rebuild_app
from sqlalchemy import select

from recorder.ari.pbxs import Pbxs
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue
from storage.records import Hours
from storage.schema import audit, event
from tests.fake_pbx import FakePbx

CALLBACKS = "/api/v1/callbacks"
LISTED = "/api/v1/do-not-call"
HOURS = Hours(8, 20, (1, 2, 3, 4, 5, 6))
NUMBERS = iter(range(2_025_550_100, 2_025_560_000))


@pytest.fixture(scope="module")
def client(client: ApiClient, catalogue: Catalogue) -> ApiClient:
    """Return a client of an API that dials on a PBX in memory, with the token of an admin."""
    pbx = FakePbx()
    pbx.endpoints |= {"PJSIP/2001", "PJSIP/2002"}
    how = {"main": DialSettings("out", trunks=("PJSIP/trunk*",))}
    policy = DialPolicy(refused=("+44",))
    dialler = Dialler(catalogue, Pbxs({"main": pbx}), how, policy)  # type: ignore[dict-item]
    promised = Callbacks(catalogue, dialler, CallbackSettings(HOURS, (900,), {"main": "US"}))
    app = rebuild_app(client.application, dialler=dialler, callbacks=promised)
    return ApiClient(app, client.token)


@pytest.fixture(scope="module")
def ann(client: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return the supervisor of team one, to which agent 2001 belongs."""
    make_token(name="2001", role="agent", team="one")
    make_token(name="2002", role="agent", team="two")
    return client.as_holder_of(make_token(name="ann", role="supervisor", team="one"))


@pytest.fixture
def agent(client: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return the agent 2002, of team two."""
    return client.as_holder_of(make_token(name="2002", role="agent", team="two"))


def make(client: ApiClient, phone: str = "PJSIP/2001", **more: Any) -> dict[str, Any]:
    """Make a call-back to a new number, and return the answer."""
    response = client.post(CALLBACKS, json={"from": phone, "to": str(next(NUMBERS))} | more)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.get_json()
    return made


def next_wednesday() -> datetime:
    """Return the beginning of a Wednesday that has not begun, in UTC."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=(2 - day.weekday()) % 7 or 7)


def audited(catalogue: Catalogue, subject: str) -> list[tuple[str, str, str]]:
    """Return the audit trail of this subject: actor, action, outcome."""
    query = select(audit).where(audit.c.subject == subject).order_by(audit.c.id)
    with catalogue.begin() as tx:
        return [(row.actor, row.action, row.outcome) for row in tx.execute(query)]


def test_a_call_back_lives_from_post_to_delete(ann: ApiClient, catalogue: Catalogue) -> None:
    """A call-back is made, found and cancelled, and its fields agree in all answers."""
    number = str(next(NUMBERS))
    night = next_wednesday().replace(hour=7)
    opens_at = night.astimezone(ZoneInfo("America/New_York")).replace(hour=10)
    wanted = {
        "from": "PJSIP/2001",
        "to": f"({number[:3]}) {number[3:6]}-{number[6:]}",
        "at": night.isoformat(),
        "name": "Mrs Ng",
        "note": "about the invoice",
        "retry_after_s": [60, 120],
        "hours": {"from_hour": 10, "to_hour": 12, "weekdays": [3]},
    }
    response = ann.post(CALLBACKS, json=wanted)
    made = response.get_json()
    itself = f"{CALLBACKS}/{made['id']}"
    assert response.headers["Location"].endswith(itself)
    assert (made["from"], made["to"], made["agent"]) == ("PJSIP/2001", f"+1{number}", "2001")
    assert (made["name"], made["note"]) == ("Mrs Ng", "about the invoice")
    times = [datetime.fromisoformat(made[name]) for name in ("at", "next_at")]
    assert times == [night, opens_at]
    assert (made["state"], made["cause"]) == ("waiting", "outside-hours")
    assert made["zones"] == ["America/New_York"]
    assert made["hours"] == {"from_hour": 10, "to_hour": 12, "weekdays": [3]}
    assert (made["retry_after_s"], made["attempts"]) == ([60, 120], 0)
    assert ann.get(itself).get_json() == made | {"dials": []}
    for query in (f"number={number}", f"number=%2B1{number}", f"number=+1{number}"):
        assert ann.get(f"{CALLBACKS}?{query}").get_json()["items"] == [made]
    assert made in ann.get(f"{CALLBACKS}?state=waiting&limit=200").get_json()["items"]
    cancelled = ann.delete(itself).get_json()
    assert (cancelled["state"], cancelled["cause"]) == ("cancelled", "by-person")
    assert cancelled["next_at"] is None
    assert ann.delete(itself).get_json() == cancelled
    trail = [("ann", "callback.create", "done"), ("ann", "callback.cancel", "done")]
    assert audited(catalogue, made["id"]) == trail


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "1999-01-01T00:00:00Z"])
def test_a_time_in_the_past_is_now(ann: ApiClient, at: str) -> None:
    """A call-back of yesterday is due at once, or at the next open time."""
    made = make(ann, at=at)
    asked_at = datetime.fromisoformat(made["at"])
    assert abs(datetime.now(UTC) - asked_at) < timedelta(minutes=5)
    hours = {"from_hour": 9, "to_hour": 20}
    assert make(ann, hours=hours)["hours"]["weekdays"] == list(HOURS.weekdays)


def test_the_list_has_parts(ann: ApiClient) -> None:
    """The cursor leads through the list, newest first."""
    number = str(next(NUMBERS))
    made = [make(ann, to=number)["id"] for _ in range(3)]
    first = ann.get(f"{CALLBACKS}?number={number}&limit=2").get_json()
    path = f"{CALLBACKS}?number={number}&limit=2&cursor={first['next_cursor']}"
    second = ann.get(path).get_json()
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None


def test_a_repeat_with_the_same_key_makes_no_second_one(ann: ApiClient) -> None:
    """The answer to a repeated request is that of the first."""
    wanted = {"from": "PJSIP/2001", "to": str(next(NUMBERS))}
    key = {"Idempotency-Key": uuid4().hex}
    first, second = (ann.post(CALLBACKS, json=wanted, headers=key) for _ in range(2))
    assert first.get_json() == second.get_json()
    found = ann.get(f"{CALLBACKS}?number={wanted['to']}").get_json()["items"]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"to": "abc"}, (422, "not-a-number")),
        ({"to": "+44 20 7946 0958"}, (403, "number-refused")),
        ({"from": "2001"}, (422, "bad-destination")),
        ({"pbx": "other"}, (409, "cannot-dial")),
        ({"call_id": "main-nothing"}, (404, "no-such-call")),
        ({"recording_id": str(uuid4())}, (404, "no-such-recording")),
        ({"at": "tomorrow"}, (422, "request-invalid")),
        ({"retry_after_s": [1]}, (422, "request-invalid")),
        ({"hours": {"from_hour": 0, "to_hour": 24}}, (422, "request-invalid")),
        ({"hours": {"from_hour": 9, "to_hour": 20, "weekdays": [7]}}, (422, "request-invalid")),
        ({"at": "9999-12-31T23:59:59Z"}, (422, "request-invalid")),
        ({"hours": {"from_hour": 12, "to_hour": 9}}, (422, "request-invalid")),
    ],
)
def test_a_wrong_request_says_so(
    ann: ApiClient, more: dict[str, Any], expected: tuple[int, str]
) -> None:
    """Each fault has its own problem; hours beyond those of the service are one."""
    wanted = {"from": "PJSIP/2001", "to": str(next(NUMBERS))} | more
    assert problem(ann.post(CALLBACKS, json=wanted)) == expected


def test_a_call_back_names_its_call(ann: ApiClient, catalogue: Catalogue) -> None:
    """The call comes from the request, or from a recording of it."""
    call = build_call(id=f"main-{uuid4()}", agent="2001")
    recording = build_recording(call_id=call.id, agent="2001")
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        recordings.create_recording(tx, recording)
    assert make(ann, call_id=call.id)["call_id"] == call.id
    assert make(ann, recording_id=str(recording.id))["call_id"] == call.id


def test_each_sees_the_call_backs_of_its_agents(
    ann: ApiClient, agent: ApiClient, client: ApiClient, catalogue: Catalogue
) -> None:
    """A supervisor sees those of the team, an agent its own, and nobody else's can be changed."""
    mine, theirs = make(ann), make(agent, "PJSIP/2002")
    for who, own, other in ((ann, mine, theirs), (agent, theirs, mine)):
        listed = {one["id"] for one in who.get(f"{CALLBACKS}?limit=200").get_json()["items"]}
        assert own["id"] in listed
        assert other["id"] not in listed
        path = f"{CALLBACKS}/{other['id']}"
        assert problem(who.get(path)) == (404, "no-such-callback")
        assert problem(who.delete(path)) == (404, "no-such-callback")
    assert client.get(f"{CALLBACKS}/{mine['id']}").get_json()["state"] == "waiting"
    wanted = {"from": "PJSIP/2001", "to": str(next(NUMBERS))}
    assert problem(agent.post(CALLBACKS, json=wanted)) == (403, "phone-not-permitted")
    assert ("2002", "callback.create", "refused") in audited(catalogue, "PJSIP/2001")
    assert ("2002", "calls.dial", "refused") in audited(catalogue, mine["id"])


def test_events_are_those_of_the_agent(ann: ApiClient, catalogue: Catalogue) -> None:
    """The event of a call-back has its agent, so that only its team sees it."""
    made = make(ann)
    query = select(event).where(event.c.data["id"].astext == made["id"])
    with catalogue.begin() as tx:
        (row,) = tx.execute(query)
    assert (row.type, row.agent) == ("callback.waiting", "2001")
    assert (row.data["number"], row.data["state"]) == (made["to"], "waiting")


def test_a_number_shows_its_zones(ann: ApiClient) -> None:
    """The page learns how we read a number, and where it is morning."""
    found = ann.get("/api/v1/numbers/(202)%20555-0123").get_json()
    assert (found["number"], found["zones"]) == ("+12025550123", ["America/New_York"])
    assert found["do_not_call"] is False
    opens_at = datetime.fromisoformat(found["opens_at"])
    assert opens_at - datetime.now(UTC) < timedelta(days=3)
    toll_free = ann.get("/api/v1/numbers/+18005550123").get_json()
    assert {"America/New_York", "Pacific/Honolulu"} <= set(toll_free["zones"])
    assert problem(ann.get("/api/v1/numbers/abc")) == (422, "not-a-number")


# The do-not-call list


def test_a_listed_number_is_refused(ann: ApiClient, catalogue: Catalogue) -> None:
    """A number on the list is neither called back nor dialled, until it is deleted from it."""
    number = str(next(NUMBERS))
    response = ann.post(LISTED, json={"number": number, "reason": "asked us not to"})
    listed = response.get_json()
    assert (response.status_code, listed["number"]) == (201, f"+1{number}")
    assert (listed["reason"], listed["created_by"]) == ("asked us not to", "ann")
    assert ann.get(f"{LISTED}?number={number}").get_json()["items"] == [listed]
    assert ann.get(f"/api/v1/numbers/{number}").get_json()["do_not_call"] is True
    wanted = {"from": "PJSIP/2001", "to": number}
    assert problem(ann.post(CALLBACKS, json=wanted)) == (403, "number-refused")
    assert problem(ann.post("/api/v1/calls", json=wanted)) == (403, "number-refused")
    assert ann.delete(f"{LISTED}/%2B1{number}").status_code == 204
    assert problem(ann.delete(f"{LISTED}/{number}")) == (404, "no-such-number")
    make(ann, to=number)
    trail = [("ann", "do-not-call.add", "done"), ("ann", "do-not-call.drop", "done")]
    assert audited(catalogue, f"+1{number}") == trail


def test_a_csv_is_imported(ann: ApiClient) -> None:
    """Each number is listed once, and the answer names each line without a number."""
    known, new, other = (str(next(NUMBERS)) for _ in range(3))
    ann.post(LISTED, json={"number": known, "reason": "first"})
    lines = [
        "Reason,Number,x",
        f"again, {known} ,",
        f", +1 {new},",
        f"asked,{new},",
        "",
        "so,abc,1",
    ]
    body = "\ufeff" + "\r\n".join([*lines, f'"a, b",{other},'])
    sent = {"data": body.encode(), "content_type": "text/csv"}
    done = ann.post(f"{LISTED}/import?reason=by%20law", **sent).get_json()
    assert (done["added"], done["known"], done["refused_total"]) == (2, 2, 1)
    (refused,) = done["refused"]
    assert refused["line"] == 6
    assert "abc" in refused["reason"]
    reasons = {}
    for number in (known, new, other):
        (found,) = ann.get(f"{LISTED}?number={number}").get_json()["items"]
        reasons[number] = found["reason"]
    assert reasons == {known: "first", new: "by law", other: "a, b"}
    again = ann.post(f"{LISTED}/import", **sent).get_json()
    assert (again["added"], again["known"]) == (0, 4)


@pytest.mark.parametrize(
    "body", [b"", b"phone\n1", b"number\n\xff", b"number\n\0", b'number\n"1', b"number,number\n1,2"]
)
def test_an_odd_csv_is_refused(ann: ApiClient, body: bytes) -> None:
    """A file without the column, of another encoding, or broken, is refused as a whole."""
    response = ann.post(f"{LISTED}/import", data=body, content_type="text/csv")
    assert problem(response) == (422, "request-invalid")


def test_a_body_of_another_type_is_refused(ann: ApiClient) -> None:
    """An import takes CSV alone."""
    response = ann.post(f"{LISTED}/import", json={"number": "1"})
    assert response.status_code == 415


def test_an_agent_reads_and_writes_no_list(agent: ApiClient) -> None:
    """The list belongs to those who make campaigns."""
    assert problem(agent.get(LISTED)) == (403, "forbidden")
    wanted = {"number": "2025550123", "reason": "x"}
    assert problem(agent.post(LISTED, json=wanted)) == (403, "forbidden")
    assert problem(agent.delete(f"{LISTED}/2025550123")) == (403, "forbidden")


def test_the_list_is_in_the_order_of_numbers(ann: ApiClient) -> None:
    """The cursor leads through the whole list."""
    for _ in range(3):
        ann.post(LISTED, json={"number": str(next(NUMBERS)), "reason": "x"})
    found, cursor = [], ""
    while True:
        page = ann.get(f"{LISTED}?limit=2{cursor}").get_json()
        found += [one["number"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == sorted(set(found))
    assert len(found) >= 3
