"""Rights that end: races with the rows that belong to an owner, and uses that go on meanwhile.

The tests use real transactions: one side holds the rights of the owner by a lock, and the other is
seen to wait for it.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import NOW, ApiClient, build_call, build_spy, store_audio
from racing import ask_during, waits_for_a_lock
from sqlalchemy import Connection, delete, select, update
from uuid_utils.compat import uuid7

import api.routes.rules
from api import present_rights
from api.present_rights import PresentRights
from api.services import EXTENSION
from lab.waiting import until
from recorder.errors import RightWithdrawn
from recorder.withdrawal import withdraw
from recorder.work.bulk import Bulks
from recorder.work.trials import Trials
from storage.catalogue import (
    audit,
    bulks,
    callbacks,
    calls,
    campaigns,
    links,
    recordings,
    searches,
    spies,
    tokens,
    trials,
    users,
    webhooks,
)
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import find_rights
from storage.objects.keys import ObjectKey
from storage.objects.s3 import S3ObjectStore
from storage.records import CallbackRecord, CampaignRecord, Hours, RecordingRecord, TrialRecord
from storage.schema import (
    bulk,
    callback,
    campaign,
    link,
    saved_search,
    spy,
    token,
    trial,
    user,
    webhook,
)
from tests.actors import ADMIN

ALWAYS = Hours(0, 24)
PATIENCE_S = 30.0
AUDIO = os.urandom(600_000)


@dataclass(frozen=True)
class Owner:
    """A token of an administrator, with its secret."""

    id: UUID
    name: str
    secret: str


@pytest.fixture
def owner(catalogue: Catalogue) -> Owner:
    """Make a token that may do everything."""
    name = f"owner-{uuid4()}"
    with catalogue.begin() as tx:
        made, secret = tokens.create_token(tx, name=name, role="admin")
    return Owner(made.id, name, secret)


@pytest.fixture
def recording(catalogue: Catalogue, objects: S3ObjectStore) -> RecordingRecord:
    """Store a recording of agent 2001 with its audio."""
    id_ = uuid7()
    key = str(ObjectKey.of("main", NOW, id_, "opus"))
    more = {"content_type": "audio/ogg", "agent": "2001", "duration_s": 60.0}
    return store_audio(catalogue, objects, key, AUDIO, id=id_, **more)


@pytest.fixture
def slow_trials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let another trial run, so that a new one goes on in the background."""
    monkeypatch.setattr(api.routes.rules, "TRIAL_WITHIN_S", 0.05)
    with api.routes.rules.TRIAL_LOCK:
        yield


@pytest.fixture
def worker(catalogue: Catalogue, objects: S3ObjectStore, tmp_path: Path) -> Bulks:
    """Return the worker of bulks; its spool is the directory `tmp_path`."""
    return Bulks(catalogue, objects, tmp_path)


def narrow(tx: Connection, owner_id: UUID, *, team: str = "south") -> None:
    """Give a token the narrower rights of a supervisor with a team, as an old session could see."""
    narrower = {"role": "supervisor", "team": team}
    tx.execute(update(token).where(token.c.id == owner_id).values(narrower))


# The row waits for the withdrawal

REQUESTS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "link": ("/api/v1/recordings/{recording}/links", {"expires_in_s": 600}, link),
    "webhook": ("/api/v1/webhooks", {"url": "https://8.8.8.8/hook", "types": ["call.*"]}, webhook),
    "bulk": ("/api/v1/bulk", {"action": "tag", "ids": ["{recording}"], "tags": ["x"]}, bulk),
    "search": ("/api/v1/searches", {"name": "mine", "query": {"agent": "2001"}}, saved_search),
    "trial": ("/api/v1/rules/test", {"rules": []}, trial),
    "token": ("/api/v1/tokens", {"name": "{name}", "role": "admin"}, token),
    "user": (
        "/api/v1/users",
        {"name": "{name}", "role": "admin", "password": "correct horse battery"},
        user,
    ),
}


def filled(value: Any, **names: str) -> Any:
    """Return JSON with these names in its texts."""
    if isinstance(value, str):
        return value.format(**names) if "{" in value else value
    if isinstance(value, list):
        return [filled(one, **names) for one in value]
    if isinstance(value, dict):
        return {name: filled(one, **names) for name, one in value.items()}
    return value


def count(catalogue: Catalogue, table: Any, owner_id: UUID, name: str) -> int:
    """Return how many rows belong to the owner, or have the name that it gave."""
    mine = table.c.owner_id == owner_id if "owner_id" in table.c else table.c.name == name
    with catalogue.begin() as tx:
        return len(tx.execute(select(table.c.id).where(mine)).all())


@pytest.mark.usefixtures("slow_trials")
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_row_waits_for_the_withdrawal(
    client: ApiClient,
    catalogue: Catalogue,
    owner: Owner,
    recording: RecordingRecord,
    kind: str,
) -> None:
    """While a token is being revoked, its request waits; it is then refused and writes nothing."""
    wanted, body, table = REQUESTS[kind]
    names = {"recording": str(recording.id), "name": f"granted-{uuid4()}"}
    holder = client.as_holder_of(owner.secret)
    assert holder.get("/api/v1/tokens").status_code == 200

    def ask() -> int:
        return holder.post(filled(wanted, **names), json=filled(body, **names)).status_code

    def revoke(tx: Connection) -> None:
        tokens.revoke_token(tx, owner.id)
        withdraw(tx, owner.id, by=ADMIN)

    assert ask_during(catalogue, revoke, ask) == 401
    assert count(catalogue, table, owner.id, names["name"]) == 0


def test_a_person_who_signs_out_makes_nothing_more(
    client: ApiClient, catalogue: Catalogue, recording: RecordingRecord
) -> None:
    """A link that is asked for while all sessions of the person end is refused."""
    with catalogue.begin() as tx:
        name = f"ann-{uuid4()}"
        ann = users.create_user(tx, name=name, role="compliance", team=None, password_hash="x")
        secret = users.begin_session(tx, ann)
        csrf = tx.scalars(select(token.c.csrf).where(token.c.user_id == ann.id)).one()
    holder = client.as_holder_of(secret)

    def ask() -> int:
        path = f"/api/v1/recordings/{recording.id}/links"
        headers = {"X-CSRF-Token": csrf}
        return holder.post(path, json={"expires_in_s": 600}, headers=headers).status_code

    def sign_out(tx: Connection) -> None:
        users.end_sessions(tx, ann.id)
        withdraw(tx, ann.id, by=ADMIN)

    assert ask_during(catalogue, sign_out, ask) == 401
    assert count(catalogue, link, ann.id, "") == 0


def test_a_narrower_grant_is_asked_again(
    client: ApiClient, catalogue: Catalogue, owner: Owner
) -> None:
    """A token whose role shrinks meanwhile cannot make one of its former role."""
    holder, name = client.as_holder_of(owner.secret), f"granted-{uuid4()}"

    def ask() -> int:
        return holder.post("/api/v1/tokens", json={"name": name, "role": "admin"}).status_code

    def shrink(tx: Connection) -> None:
        fewer = {"role": "service", "scopes": ["system.write", "calls.read"]}
        tx.execute(update(token).where(token.c.id == owner.id).values(fewer))

    assert ask_during(catalogue, shrink, ask) == 403
    assert count(catalogue, token, owner.id, name) == 0


# The withdrawal waits for the row, and ends it


def make_link(tx: Connection, owner: Owner, recording: RecordingRecord) -> None:
    """Share the recording."""
    links.create_link(
        tx, recording.id, by=owner.name, owner_id=owner.id, expires_in=timedelta(hours=1)
    )


def make_webhook(tx: Connection, owner: Owner, _: RecordingRecord) -> None:
    """Send events to a server."""
    webhooks.create_webhook(
        tx, url="https://example.com/hook", types=(), by=owner.name, owner_id=owner.id
    )


def make_bulk(tx: Connection, owner: Owner, recording: RecordingRecord) -> None:
    """Export the recording."""
    bulks.create_bulk(
        tx,
        action="export",
        arguments={},
        recordings=[recording.id],
        by=owner.name,
        owner_id=owner.id,
    )


def make_search(tx: Connection, owner: Owner, _: RecordingRecord) -> None:
    """Save a search."""
    searches.save_search(tx, owner_id=owner.id, name="mine", query={})


def make_trial(tx: Connection, owner: Owner, _: RecordingRecord) -> None:
    """Try a draft."""
    now = datetime.now(UTC)
    trials.create_trial(
        tx,
        TrialRecord(
            uuid7(),
            (),
            "record",
            now - timedelta(days=1),
            now,
            "waiting",
            owner.name,
            now,
            owner.id,
        ),
    )


def make_callback(tx: Connection, owner: Owner, _: RecordingRecord) -> None:
    """Promise a call."""
    at = datetime.now(UTC) + timedelta(hours=1)
    callbacks.create_callback(
        tx,
        CallbackRecord(
            id=uuid7(),
            pbx="main",
            phone="PJSIP/2001",
            agent="2001",
            number="+12025550123",
            state="waiting",
            at=at,
            hours=ALWAYS,
            retry_after_s=(),
            created_at=at,
            created_by=owner.name,
            due_at=at,
            next_at=at,
            owner_id=owner.id,
        ),
    )


def make_campaign(tx: Connection, owner: Owner, _: RecordingRecord) -> None:
    """Let a campaign run."""
    now = datetime.now(UTC)
    record = CampaignRecord(
        id=uuid7(),
        name="spring",
        pbx="main",
        mode="preview",
        state="running",
        hours=ALWAYS,
        retry_after_s=(),
        created_at=now,
        created_by=owner.name,
        owner_id=owner.id,
    )
    campaigns.create_campaign(tx, record, {})


def make_spy(tx: Connection, owner: Owner, _: RecordingRecord) -> None:
    """Listen to a call."""
    call = build_call(id=f"main-{uuid4()}", agent="2001")
    calls.save_calls(tx, [call])
    spies.create_spy(tx, build_spy(call_id=call.id, agent="2001", owner_id=owner.id))


Make = Callable[[Connection, Owner, RecordingRecord], None]
# The function that makes the row, its table, and the columns that tell how it ended.
OWNED: dict[str, tuple[Make, Any, dict[str, Any]]] = {
    "link": (make_link, link, {}),
    "webhook": (make_webhook, webhook, {"stopped": "owner-gone"}),
    "bulk": (make_bulk, bulk, {"state": "failed", "reason": "right-withdrawn"}),
    "trial": (make_trial, trial, {"state": "failed", "reason": "right-withdrawn"}),
    "callback": (make_callback, callback, {"state": "cancelled", "cause": "not-permitted"}),
    "campaign": (make_campaign, campaign, {"state": "paused", "cause": "not-permitted"}),
    "spy": (make_spy, spy, {"state": "ended", "cause": "not-permitted"}),
    "search": (make_search, saved_search, {}),
}


@pytest.mark.parametrize("kind", OWNED)
def test_a_withdrawal_waits_for_the_row_and_ends_it(
    client: ApiClient, catalogue: Catalogue, owner: Owner, recording: RecordingRecord, kind: str
) -> None:
    """A token cannot be revoked while a row of it is written; the revocation then ends the row."""
    make, table, ended = OWNED[kind]
    with ThreadPoolExecutor(1) as pool:
        with catalogue.begin() as tx:
            assert find_rights(tx, owner.id, lock=True) is not None
            make(tx, owner, recording)
            revoked = pool.submit(client.delete, f"/api/v1/tokens/{owner.id}")
            until(lambda: revoked.done() or waits_for_a_lock(tx), PATIENCE_S)
        assert revoked.result(30).status_code == 204
    with catalogue.begin() as tx:
        found = tx.execute(select(table).where(table.c.owner_id == owner.id)).mappings().all()
    if kind == "search":
        assert found == []
        return
    (row,) = found
    assert {name: row[name] for name in ended} == ended
    assert kind != "link" or row["revoked_at"] is not None


# Narrower rights end no more than they must


def test_a_narrower_owner_keeps_the_rest(
    catalogue: Catalogue, owner: Owner, recording: RecordingRecord
) -> None:
    """An owner who now sees one team keeps the links to its recordings, and loses the others."""
    other = replace(recording, id=uuid7(), agent="2002", object_key=None)
    with catalogue.begin() as tx:
        recordings.create_recording(tx, other)
        tokens.create_token(tx, name="2001", role="agent", team="north")
        for one in (recording, other):
            make_link(tx, owner, one)
        make_search(tx, owner, recording)
        fewer = {"role": "compliance", "team": "north"}
        tx.execute(update(token).where(token.c.id == owner.id).values(fewer))
        withdraw(tx, owner.id, by=ADMIN)
        (kept,) = links.list_links(tx, recording.id).items
        (lost,) = links.list_links(tx, other.id).items
        assert (kept.revoked_at, lost.revoked_at is not None) == (None, True)
        assert len(searches.list_searches(tx, owner.id).items) == 1
        (entry,) = audit.list_audit(tx, limit=1, subject=str(other.id)).items
    assert (entry.actor, entry.action) == (ADMIN.name, "link.revoke")


def test_an_agent_who_leaves_a_team_takes_its_recordings_along(
    client: ApiClient, catalogue: Catalogue, owner: Owner, recording: RecordingRecord
) -> None:
    """A member's links to an agent end when that agent joins another team."""
    agent = f"agent-{uuid4()}"
    east, west = f"east-{uuid4()}", f"west-{uuid4()}"
    body = {"name": agent, "role": "agent", "team": east}
    assert client.post("/api/v1/tokens", json=body).status_code == 201
    with catalogue.begin() as tx:
        theirs = replace(recording, id=uuid7(), agent=agent, object_key=None)
        recordings.create_recording(tx, theirs)
        fewer = {"role": "compliance", "team": east}
        tx.execute(update(token).where(token.c.id == owner.id).values(fewer))
        make_link(tx, owner, theirs)
    assert client.post("/api/v1/tokens", json=body | {"team": west}).status_code == 201
    with catalogue.begin() as tx:
        (ended,) = links.list_links(tx, theirs.id).items
    assert ended.revoked_at is not None


def test_the_session_of_another_loses_nothing(
    catalogue: Catalogue, owner: Owner, recording: RecordingRecord
) -> None:
    """The withdrawal of one owner leaves the rows of all others alone."""
    with catalogue.begin() as tx:
        other, _ = tokens.create_token(tx, name=f"other-{uuid4()}", role="admin")
        theirs = Owner(other.id, other.name, "")
        for make, _, _ in OWNED.values():
            make(tx, theirs, recording)
        tokens.revoke_token(tx, owner.id)
        assert withdraw(tx, owner.id, by=ADMIN).spy_ids == ()
        (shared,) = links.list_links(tx, recording.id).items
        assert shared.revoked_at is None
        assert [one.state for one in bulks.list_unfinished_of(tx, other.id)] == ["waiting"]
        assert len(trials.list_unfinished_of(tx, other.id)) == 1
        assert len(callbacks.list_waiting_of(tx, other.id)) == 1
        assert len(campaigns.list_running_of(tx, other.id)) == 1


# Uses ask again, though nothing was withdrawn in a transaction


@pytest.fixture
def impatient(client: ApiClient, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let streams of bytes ask for the rights at every chunk."""
    extensions = client.application.extensions
    eager = replace(extensions[EXTENSION], rights=PresentRights(catalogue, read_every_s=0))
    monkeypatch.setitem(extensions, EXTENSION, eager)
    monkeypatch.setattr(present_rights, "LOOK_EVERY_S", 0)


def share(client: ApiClient, owner: Owner, recording: RecordingRecord) -> str:
    """Return the path of a new link to the recording."""
    wanted = f"/api/v1/recordings/{recording.id}/links"
    made = client.as_holder_of(owner.secret).post(wanted, json={"expires_in_s": 600})
    return f"/shared/{made.json['url'].rpartition('/')[2]}"


@pytest.mark.parametrize("how", ["gone", "narrower"])
def test_a_link_needs_the_right_of_its_maker(
    client: ApiClient, catalogue: Catalogue, owner: Owner, recording: RecordingRecord, how: str
) -> None:
    """A link does not open once its maker is gone or may not share, though nobody revoked it."""
    anybody = client.application.test_client()
    shared = share(client, owner, recording)
    assert anybody.get(f"{shared}/audio").status_code == 200
    with catalogue.begin() as tx:
        if how == "gone":
            tx.execute(delete(token).where(token.c.id == owner.id))
        else:
            narrow(tx, owner.id)
    assert [anybody.get(f"{shared}{more}").status_code for more in ("", "/audio")] == [404, 404]
    assert anybody.get(f"{shared}/waveform").status_code == 404


def first_chunk(answered: Any) -> Iterator[bytes]:
    """Return the rest of a body after its first chunk."""
    rest: Iterator[bytes] = iter(answered.response)
    assert next(rest)
    return rest


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", ["audio", "link"])
def test_a_long_download_breaks_off_with_the_right(
    client: ApiClient, catalogue: Catalogue, owner: Owner, recording: RecordingRecord, way: str
) -> None:
    """Bytes that are being sent end once the hearer, or the maker of the link, loses the right."""
    wanted = f"/api/v1/recordings/{recording.id}/audio?stream=1"
    if way == "link":
        answered = client.application.test_client().get(f"{share(client, owner, recording)}/audio")
    else:
        answered = client.as_holder_of(owner.secret).get(wanted)
    assert answered.status_code == 200
    rest = first_chunk(answered)
    with catalogue.begin() as tx:
        narrow(tx, owner.id)
    with pytest.raises(ConnectionResetError):
        list(rest)
    answered.close()


def test_an_export_is_only_for_who_sees_all_of_it(
    client: ApiClient,
    worker: Bulks,
    owner: Owner,
    recording: RecordingRecord,
) -> None:
    """The ZIP of an export is refused once its owner does not see one of its recordings."""
    manifest = str(ObjectKey.of("main", NOW, recording.id, "opus").manifest)
    worker.objects.put_bytes(manifest, b"{}", content_type="application/json", metadata={})
    holder = client.as_holder_of(owner.secret)
    body = {"action": "export", "ids": [str(recording.id)]}
    made = holder.post("/api/v1/bulk", json=body).json
    worker.work(UUID(made["id"]))
    path = f"/api/v1/bulk/{made['id']}/file"
    assert holder.get(path).status_code == 302
    with worker.catalogue.begin() as tx:
        fewer = {"role": "compliance", "team": "south"}
        tx.execute(update(token).where(token.c.id == owner.id).values(fewer))
    assert holder.get(path).status_code == 403
    assert holder.get(f"{path}?stream=1").status_code == 403


# Workers ask again


def test_a_worker_refuses_hidden_recordings(
    catalogue: Catalogue, worker: Bulks, owner: Owner, recording: RecordingRecord
) -> None:
    """A bulk whose owner got a team leaves the recordings of others alone."""
    with catalogue.begin() as tx:
        made = bulks.create_bulk(
            tx,
            action="tag",
            arguments={"tags": ["x"], "remove_tags": []},
            recordings=[recording.id],
            by=owner.name,
            owner_id=owner.id,
        )
        narrow(tx, owner.id)
    worker.work(made.id)
    with catalogue.begin() as tx:
        done = bulks.get_bulk(tx, made.id)
        assert (done.state, done.refused_total) == ("done", 1)
        assert recordings.get_recording(tx, recording.id).tags == ()


@pytest.mark.parametrize("action", ["tag", "export"])
def test_a_worker_ends_the_bulk_of_nobody(
    catalogue: Catalogue, worker: Bulks, owner: Owner, recording: RecordingRecord, action: Any
) -> None:
    """A bulk whose owner is gone fails with its reason, and leaves no ZIP."""
    with catalogue.begin() as tx:
        made = bulks.create_bulk(
            tx,
            action=action,
            arguments={"tags": ["x"], "remove_tags": []},
            recordings=[recording.id],
            by=owner.name,
            owner_id=owner.id,
        )
        tx.execute(delete(token).where(token.c.id == owner.id))
    worker.work(made.id)
    with catalogue.begin() as tx:
        ended = bulks.get_bulk(tx, made.id)
    assert (ended.state, ended.reason) == ("failed", RightWithdrawn.error_id)
    assert ended.object_key is None
    assert list(worker.spool.iterdir()) == []


def test_a_worker_ends_the_trial_of_nobody(
    catalogue: Catalogue, owner: Owner, recording: RecordingRecord
) -> None:
    """A trial whose owner is gone fails with its reason."""
    with catalogue.begin() as tx:
        make_trial(tx, owner, recording)
        (made,) = trials.list_unfinished_of(tx, owner.id)
        tx.execute(delete(token).where(token.c.id == owner.id))
    Trials(catalogue).work(made.id)
    with catalogue.begin() as tx:
        ended = trials.get_trial(tx, made.id)
    assert (ended.state, ended.reason) == ("failed", RightWithdrawn.error_id)
