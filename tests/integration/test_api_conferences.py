"""Conferences over HTTP: rights, answers, events, and the audit trail."""

from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, TokenMaker, build_call, problem, rebuild_app
from sqlalchemy import select

from recorder.ari.pbxs import Pbxs
from recorder.conferences.conferences import Conferences, ConferenceSettings
from recorder.dialling.dialler import DialSettings
from storage.catalogue import calls, do_not_call, events
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord
from storage.schema import audit
from tests.fake_pbx import FakePbx
from tests.legs import leg

ROOMS = "/api/v1/conferences"
PREMIUM = "19005550123"


@pytest.fixture(scope="module")
def pbx() -> FakePbx:
    """Return a PBX in memory, whose phones ring and never answer."""
    pbx = FakePbx()
    pbx.endpoints |= {"PJSIP/2001", "PJSIP/2002", "PJSIP/2003"}
    return pbx


@pytest.fixture(scope="module")
def root(client: ApiClient, catalogue: Catalogue, pbx: Any) -> ApiClient:
    """Return an admin whose service holds conferences on this PBX."""
    dial = DialSettings("outbound", trunks=("PJSIP/trunk*",))
    held = Conferences(catalogue, Pbxs({"main": pbx}), {"main": ConferenceSettings(dial)})
    return ApiClient(rebuild_app(client.application, conferences=held), client.token)


@pytest.fixture(scope="module", autouse=True)
def _agents(make_token: TokenMaker) -> None:
    """Put 2001 in team one, and 2002 in team two."""
    make_token(name="2001", role="agent", team="one")
    make_token(name="2002", role="agent", team="two")


@pytest.fixture
def ann(root: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return the supervisor of team one."""
    return root.as_holder_of(make_token(name="ann", role="supervisor", team="one"))


@pytest.fixture
def bob(root: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return the supervisor of team two."""
    return root.as_holder_of(make_token(name="bob", role="supervisor", team="two"))


def open_room(client: ApiClient, **terms: Any) -> dict[str, Any]:
    """Open a conference of a name of its own, and return the answer."""
    response = client.post(ROOMS, json={"name": f"room-{uuid4().hex[:8]}", **terms})
    assert response.status_code == 201, response.text
    opened: dict[str, Any] = response.get_json()
    return opened


def invite(client: ApiClient, room: dict[str, Any], **who: Any) -> dict[str, Any]:
    """Call somebody into a conference, and return the member."""
    response = client.post(f"{ROOMS}/{room['id']}/members", json=who)
    assert response.status_code == 201, response.text
    member: dict[str, Any] = response.get_json()
    return member


def audited(catalogue: Catalogue, subject: str, outcome: str = "done") -> list[tuple[str, str]]:
    """Return the actor and the action of each entry about this subject."""
    query = select(audit).where(audit.c.subject == subject, audit.c.outcome == outcome)
    with catalogue.begin() as tx:
        return [(row.actor, row.action) for row in tx.execute(query.order_by(audit.c.id))]


# From the opening to the end


def test_a_conference_lives_from_post_to_delete(ann: ApiClient, catalogue: Catalogue) -> None:
    """A conference is opened, found, locked and ended; every answer agrees, every deed is kept."""
    response = ann.post(ROOMS, json={"name": "monday", "record": True, "layout": "tracks"})
    room = response.get_json()
    itself = f"{ROOMS}/{room['id']}"
    assert response.headers["Location"].endswith(itself)
    assert (room["state"], room["pbx"], room["members"]) == ("open", "main", [])
    assert (room["record"], room["layout"], room["created_by"]) == (True, "tracks", "ann")
    assert ann.get(itself).get_json() == room
    assert room in ann.get(ROOMS).get_json()["items"]
    locked = ann.patch(itself, json={"locked": True}).get_json()
    assert locked == room | {"locked": True}
    quiet = ann.patch(itself, json={"locked": False, "record": False}).get_json()
    assert quiet == room | {"record": False}
    ended = ann.delete(itself).get_json()
    assert (ended["state"], ended["cause"]) == ("ended", "ended")
    assert ann.delete(itself).get_json() == ended
    assert problem(ann.patch(itself, json={"locked": True})) == (409, "conference-ended")
    tried = ann.post(f"{itself}/members", json={"destination": "PJSIP/2003"})
    assert problem(tried) == (409, "conference-ended")
    assert room["id"] not in {one["id"] for one in ann.get(ROOMS).get_json()["items"]}
    past = ann.get(f"{ROOMS}?state=ended").get_json()["items"]
    assert room["id"] in {one["id"] for one in past}
    deeds = [action for _, action in audited(catalogue, room["id"])]
    assert deeds[:2] == ["conference.open", "conference.lock"]
    assert deeds[-1] == "conference.end"


def test_a_member_is_called_changed_and_removed(
    ann: ApiClient, catalogue: Catalogue, pbx: FakePbx
) -> None:
    """A phone rings; the member is muted, put on hold and removed, and shown so."""
    room = open_room(ann)
    member = invite(ann, room, destination="PJSIP/2003", role="guest")
    itself = f"{ROOMS}/{room['id']}/members/{member['id']}"
    assert (member["destination"], member["role"]) == ("PJSIP/2003", "guest")
    assert member["state"] in ("requested", "ringing")
    assert member["call_id"] == f"main-earwitness-dial-{member['id']}"
    assert "PJSIP/2003" in pbx.dialled
    muted = ann.patch(itself, json={"muted": True}).get_json()
    assert (muted["muted"], muted["on_hold"]) == (True, False)
    held = ann.patch(itself, json={"muted": False, "on_hold": True}).get_json()
    assert (held["muted"], held["on_hold"], len(held["quiet"])) == (False, True, 1)
    (shown,) = ann.get(f"{ROOMS}/{room['id']}").get_json()["members"]
    assert shown["on_hold"] is True
    left = ann.delete(itself).get_json()
    assert (left["state"], left["cause"]) == ("left", "removed")
    assert problem(ann.patch(itself, json={"muted": True})) == (404, "no-such-member")
    assert problem(ann.patch(itself, json={})) == (422, "request-invalid")


def test_a_number_is_called_through_the_dialplan(ann: ApiClient, pbx: FakePbx) -> None:
    """An outside number is called by the context for dialling, in the form that it wants."""
    pbx.endpoints.add("Local/12025550123@outbound/n")
    member = invite(ann, open_room(ann), destination="(202) 555-0123")
    assert (member["destination"], member["number"]) == ("+12025550123", "+12025550123")
    assert pbx.dialled[-1] == "Local/12025550123@outbound/n"


@pytest.mark.parametrize(
    ("who", "status", "error_id"),
    [
        ({"destination": "PJSIP/trunk"}, 422, "bad-destination"),
        ({"destination": "PJSIP/9999"}, 422, "bad-destination"),
        ({"destination": "nobody"}, 422, "not-a-number"),
        ({"destination": PREMIUM}, 403, "number-refused"),
        ({"call_id": "main-none"}, 404, "no-such-call"),
        ({}, 422, "request-invalid"),
        ({"destination": "PJSIP/2003", "call_id": "main-1"}, 422, "request-invalid"),
    ],
)
def test_a_wrong_member_is_refused(
    root: ApiClient, who: dict[str, str], status: int, error_id: str
) -> None:
    """A trunk, an unknown phone, no number, a premium number and an unknown call are refused."""
    room = open_room(root)
    assert problem(root.post(f"{ROOMS}/{room['id']}/members", json=who)) == (status, error_id)
    assert root.get(f"{ROOMS}/{room['id']}").get_json()["members"] == []


def test_a_listed_number_is_not_called(root: ApiClient, catalogue: Catalogue) -> None:
    """The do-not-call list holds for the members of a conference."""
    with catalogue.begin() as tx:
        do_not_call.add(tx, "+12025550177", "asked us not to", by="root")
    path = f"{ROOMS}/{open_room(root)['id']}/members"
    assert problem(root.post(path, json={"destination": "12025550177"})) == (403, "number-refused")


def test_a_call_needs_a_context_to_come_in(root: ApiClient, catalogue: Catalogue) -> None:
    """Without `conference_context` no call can be taken in, and the answer names the key."""
    call = store_call(catalogue, "2001")
    response = root.post(f"{ROOMS}/{open_room(root)['id']}/members", json={"call_id": call.id})
    assert problem(response) == (409, "cannot-take-in")
    assert "conference_context" in response.get_json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "two words"},
        {"pin": "12"},
        {"pin": "abcd"},
        {"layout": "stereo"},
        {"pbx": "other"},
        {"colour": "red"},
    ],
)
def test_a_wrong_body_is_422(ann: ApiClient, body: dict[str, Any]) -> None:
    """A wrong body is 422, and opens nothing."""
    before = ann.get(ROOMS).get_json()["items"]
    assert problem(ann.post(ROOMS, json=body)) == (422, "request-invalid")
    assert ann.get(ROOMS).get_json()["items"] == before


def test_a_name_is_open_once(root: ApiClient) -> None:
    """Two open conferences of a PBX have different names; after an end the name is free."""
    first = open_room(root, name="twice")
    assert problem(root.post(ROOMS, json={"name": "twice"})) == (409, "conference-name-taken")
    root.delete(f"{ROOMS}/{first['id']}")
    assert open_room(root, name="twice")["id"] != first["id"]


def test_a_post_is_acted_on_once(root: ApiClient, pbx: FakePbx) -> None:
    """A repeat under the same key opens nothing and rings nobody, and repeats no PIN."""
    headers = {"Idempotency-Key": str(uuid4())}
    body = {"name": f"once-{uuid4().hex[:8]}", "pin": "4711"}
    first, second = (root.post(ROOMS, json=body, headers=headers).get_json() for _ in range(2))
    assert first["pin"] == "4711"
    assert second == first | {"pin": None}
    headers, rung = {"Idempotency-Key": str(uuid4())}, len(pbx.dialled)
    path = f"{ROOMS}/{first['id']}/members"
    answers = [
        root.post(path, json={"destination": "PJSIP/2003"}, headers=headers) for _ in range(2)
    ]
    assert answers[0].data == answers[1].data
    assert len(pbx.dialled) == rung + 1


# Rights


def store_call(catalogue: Catalogue, agent: str) -> CallRecord:
    """Store a call of an agent with a customer."""
    customer, phone = f"c{uuid4()}", f"a{uuid4()}"
    legs = (
        leg(customer, party="customer", name="PJSIP/trunk-1"),
        leg(phone, name=f"PJSIP/{agent}-1"),
    )
    record = build_call(id=f"main-{uuid4()}", agent=agent, channels=legs)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [record])
    return record


def test_a_team_sees_its_own_conferences(
    ann: ApiClient, bob: ApiClient, root: ApiClient, catalogue: Catalogue
) -> None:
    """A supervisor sees what he opened, and conferences with his agents; nothing else exists."""
    of_ann, of_root = open_room(ann), open_room(root)
    member = invite(root, of_root, destination="PJSIP/2002")
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=member["call_id"], agent="2002")])
    assert ann.get(f"{ROOMS}/{of_ann['id']}").status_code == 200
    assert bob.get(f"{ROOMS}/{of_root['id']}").status_code == 200
    seen = {one["id"] for one in bob.get(ROOMS).get_json()["items"]}
    assert (of_root["id"] in seen, of_ann["id"] in seen) == (True, False)
    hidden = f"{ROOMS}/{of_ann['id']}"
    tries = [
        bob.get(hidden),
        bob.patch(hidden, json={"locked": True}),
        bob.delete(hidden),
        bob.post(f"{hidden}/members", json={"destination": "PJSIP/2003"}),
        bob.patch(f"{hidden}/members/{uuid4()}", json={"muted": True}),
        bob.delete(f"{hidden}/members/{uuid4()}"),
    ]
    assert [problem(one) for one in tries] == [(404, "no-such-conference")] * 6
    assert {actor for actor, _ in audited(catalogue, of_ann["id"], "refused")} == {"bob"}
    assert len(audited(catalogue, of_ann["id"], "refused")) == 6


CONTROL = {"POST ": {}, "PATCH /{id}": {"locked": True}, "DELETE /{id}": None}
MEMBERS = {
    "POST /{id}/members": {"destination": "PJSIP/2003"},
    "PATCH /{id}/members/{member}": {"muted": True},
    "DELETE /{id}/members/{member}": None,
}


@pytest.mark.parametrize(
    ("role", "reads", "controls"),
    [
        ("admin", True, True),
        ("supervisor", True, True),
        ("compliance", True, False),
        ("agent", False, False),
        ("service", False, False),
    ],
)
def test_each_role_has_its_rights(
    root: ApiClient, make_token: TokenMaker, role: str, reads: bool, controls: bool
) -> None:
    """Compliance reads, supervisors and admins control too; agents and a bare token do neither."""
    holder = root.as_holder_of(make_token(name=f"{role}-{uuid4().hex[:6]}", role=role))
    room = open_room(root, pin="4711")
    member = invite(root, room, destination="PJSIP/2003")
    found = holder.get(f"{ROOMS}/{room['id']}")
    assert found.status_code == holder.get(ROOMS).status_code == (200 if reads else 403)
    if reads:
        fields = found.get_json()
        assert (fields["has_pin"], fields["pin"]) == (True, "4711" if controls else None)
    for operation, body in (MEMBERS | CONTROL).items():
        method, path = operation.split(" ")
        path = path.format(id=room["id"], member=member["id"])
        answered = holder.request(method, f"{ROOMS}{path}", json=body)
        assert (answered.status_code == 403) is not controls, (operation, answered.text)


def test_a_number_needs_the_right_to_dial(
    root: ApiClient, make_token: TokenMaker, catalogue: Catalogue
) -> None:
    """Without `calls.dial` a phone of the house may be called in, but no outside number."""
    token = make_token(name="cat", role="supervisor", without=["calls.dial"])
    cat, room = root.as_holder_of(token), open_room(root)
    assert invite(cat, room, destination="PJSIP/2003")["number"] == "2003"
    path = f"{ROOMS}/{room['id']}/members"
    response = cat.post(path, json={"destination": "12025550123"})
    assert problem(response) == (403, "forbidden")
    assert ("cat", "calls.dial") in audited(catalogue, path, "refused")


# Events


def test_events_go_to_those_who_may_see(root: ApiClient, catalogue: Catalogue) -> None:
    """Every change of a conference is an event without its PIN; a member's has both ids."""
    with catalogue.begin() as tx:
        last = events.newest_event_id(tx)
    room = open_room(root, pin="4711")
    member = invite(root, room, destination="PJSIP/2003")
    root.patch(f"{ROOMS}/{room['id']}/members/{member['id']}", json={"muted": True})
    root.delete(f"{ROOMS}/{room['id']}")
    with catalogue.begin() as tx:
        told = [one for one in events.list_events(tx, last, 1000) if one.data["id"] == room["id"]]
    types = [one.type for one in told]
    assert (types[0], "conference.muted" in types) == ("conference.opened", True)
    assert "conference.ended" in types
    assert "4711" not in str(told)
    (muted,) = [one for one in told if one.type == "conference.muted"]
    assert muted.data["member_id"] == member["id"]
    assert muted.data["created_by"] == "root"
