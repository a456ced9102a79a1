"""The pages of calls that we set up: empty, filled, refused, and in another language."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, CatalogueCapture, CatalogueSpies, TokenMaker, build_call
from flask import Flask

from api.app import ApiSettings, build_app
from api.services import EXTENSION
from recorder.ari.pbxs import Pbxs
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from storage.catalogue import callbacks, calls, campaigns, conferences, do_not_call
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore
from storage.records import (
    CallbackRecord,
    CampaignEntry,
    CampaignRecord,
    ConferenceRecord,
    EntryState,
    Hours,
    MemberRecord,
)

Show = Callable[..., str]
NOW = datetime.now(UTC)
ENTRIES: tuple[EntryState, ...] = ("done", "refused", "waiting", "waiting")


@pytest.fixture(scope="module")
def app(
    catalogue: Catalogue, objects: S3ObjectStore, recorder: CatalogueCapture
) -> Iterator[Flask]:
    """Build an application that dials on two PBXs."""
    how = {"main": DialSettings("out"), "branch": DialSettings("out"), "lab": DialSettings()}
    dialler = Dialler(catalogue, Pbxs({}), how, DialPolicy())
    spies, settings = CatalogueSpies(catalogue), ApiSettings(pbxs=("main",))
    promised = Callbacks(catalogue, dialler, CallbackSettings(Hours(), (), {"main": "US"}))
    app = build_app(
        catalogue, objects, recorder, spies, settings, dialler=dialler, callbacks=promised
    )
    yield app
    app.extensions[EXTENSION].feed.close()


@pytest.fixture
def show(app: Flask, make_token: TokenMaker) -> Show:
    """Return a function that opens a page as somebody with a role."""

    def opened(
        path: str, *, role: str = "admin", name: str = "ann", language: str = "en", **more: UUID
    ) -> str:
        token = make_token(name=name, role=role, team="one" if role != "admin" else None, **more)
        headers = {"Authorization": f"Bearer {token}", "Accept-Language": language}
        return app.test_client().get(path, headers=headers).text

    return opened


def build_campaign(**more: object) -> CampaignRecord:
    """Build a campaign of the agent 2001 that previews numbers."""
    fields: dict[str, object] = {"mode": "preview", "state": "running", "agents": ("2001",)}
    return CampaignRecord(
        id=uuid4(),
        name="Autumn <offer>",
        pbx="main",
        hours=Hours(9, 18, (1, 5)),
        retry_after_s=(900,),
        created_at=NOW,
        created_by="ann",
        **(fields | more),  # type: ignore[arg-type]
    )


def test_missed_callers(show: Show, catalogue: Catalogue) -> None:
    """An inbound call of the last 24 hours without a talk is missed; others are not."""
    day = timedelta(days=1)
    with catalogue.begin() as tx:
        for number, changes in {
            "12025550101": {},
            "12025550102": {"talked_at": NOW},
            "12025550103": {"direction": "outbound"},
            "12025550104": {"state": "up", "ended_at": None},
            "12025550105": {"started_at": NOW - 2 * day, "ended_at": NOW - 2 * day},
        }.items():
            missed = {"state": "ended", "started_at": NOW, "ended_at": NOW, "talked_at": None}
            call = build_call(id=f"main-{number}", caller_number=number, **(missed | changes))
            calls.save_calls(tx, [call])
    page = show("/").partition('id="missed"')[2]
    shown = [number for number in range(12025550101, 12025550106) if f">{number}<" in page]
    assert shown == [12025550101]
    assert 'data-call-back="12025550101"' in page
    assert 'data-pbx="main"' in page


def build_callback(number: str, agent: str, next_at: datetime) -> CallbackRecord:
    """Build a call-back of an agent that waits for its first call."""
    return CallbackRecord(
        id=uuid4(),
        pbx="main",
        phone=f"PJSIP/{agent}",
        agent=agent,
        number=number,
        state="waiting",
        at=next_at,
        hours=Hours(),
        retry_after_s=(900,),
        created_at=NOW,
        created_by="ann",
        next_at=next_at,
    )


def test_scheduled_callbacks(show: Show, catalogue: Catalogue) -> None:
    """Call-backs that wait or ring are shown, the next one first; an agent sees its own alone."""
    hour = timedelta(hours=1)
    later, ringing, over = (
        build_callback("+12025550111", "2001", NOW + 2 * hour),
        build_callback("+12025550112", "2002", NOW + hour),
        build_callback("+12025550113", "2001", NOW),
    )
    with catalogue.begin() as tx:
        for one in (later, ringing, over):
            callbacks.create_callback(tx, one)
        callbacks.move_callback(tx, ringing.id, to="dialling", cause=None)
        callbacks.move_callback(tx, over.id, to="cancelled", ended_at=NOW)
    page, own = show("/"), show("/", role="agent", name="2001")
    assert page.index(f">{ringing.number}<") < page.index(f">{later.number}<")
    assert [later.number in own, ringing.number in own] == [True, False]
    assert over.number not in page + own


def test_the_phone_and_the_pbx(show: Show) -> None:
    """The PBXs that dial can be chosen; an agent has its own phone, who may not call no field."""
    page = show("/")
    assert "<option>branch</option><option>main</option>" in page
    assert ("PJSIP/2001" in show("/", role="agent", name="2001"), 'name="to"' in page) == (
        True,
        True,
    )
    assert 'name="to"' not in show("/", role="compliance")


def test_a_conference(show: Show, catalogue: Catalogue) -> None:
    """Members are shown with their states; who may not control sees neither PIN nor buttons."""
    assert "No conference is open" in show("/conferences")
    owner = uuid4()
    made = ConferenceRecord(
        uuid4(), "main", "monday", "open", "ann", NOW, pin="4711", locked=True, owner_id=owner
    )
    someone = MemberRecord(
        uuid4(), made.id, "requested", "guest", NOW, "ch", "main-1", number="12025550123"
    )
    with catalogue.begin() as tx:
        conferences.create_conference(tx, made)
        conferences.create_member(tx, someone)
        conferences.move_member(tx, someone.id, to="waiting", at=NOW)
    page, other = show("/conferences"), show("/conferences", role="compliance", id=owner)
    for words in ("monday", "12025550123", "waits for the owner", "locked", "4711", "Unlock"):
        assert words in page
    assert "monday" in other
    assert ("4711" in other, "Unlock" in other) == (False, False)
    assert "ينتظر صاحب المؤتمر" in show("/conferences", language="ar")


def test_a_campaign(show: Show, catalogue: Catalogue) -> None:
    """The bar counts the entries; a campaign that is gone is a page with a way back."""
    made = build_campaign()
    entries = [
        CampaignEntry(uuid4(), made.id, place, str(place), state, cause="busy")
        for place, state in enumerate(ENTRIES, 2)
    ]
    with catalogue.begin() as tx:
        campaigns.create_campaign(tx, made, {"2001": "PJSIP/2001"})
        campaigns.add_entries(tx, entries)
    page = show(f"/campaigns/{made.id}")
    for words in ("Autumn &lt;offer&gt;", "reached: 1", "waiting: 2", "09:00", "Mon, Fri"):
        assert words in page
    assert '<rect class="good" x="0.0" width="25.0" height="1"/>' in page
    assert "results.csv" in page
    assert "Pause" in page
    assert "Pause" not in show(f"/campaigns/{made.id}", role="compliance", name="ann")
    assert "Autumn &lt;offer&gt;" in show("/campaigns")
    assert "There is no such campaign" in show(f"/campaigns/{uuid4()}")
    mine = show("/my-campaigns", role="agent", name="2001")
    assert "I am ready" in mine
    assert "No campaign runs for you" in show("/my-campaigns", role="agent", name="2009")


def test_the_do_not_call_list(show: Show, catalogue: Catalogue) -> None:
    """A number is looked up as people write it, and a word is no number."""
    assert "The list is empty" in show("/do-not-call")
    with catalogue.begin() as tx:
        do_not_call.add(tx, "+12025550177", "asked us", by="ann")
    assert "asked us" in show("/do-not-call?number=(202)%20555-0177")
    assert "it may be called" in show("/do-not-call?number=2025550178")
    assert "This is no telephone number" in show("/do-not-call?number=ann")
    assert "asked us" in show("/do-not-call?cursor=nonsense")


@pytest.mark.parametrize("path", ["/conferences", "/campaigns", "/do-not-call"])
def test_an_agent_is_refused(show: Show, path: str) -> None:
    """A page that an agent may not see says so."""
    assert "You may not see this page" in show(path, role="agent", name="2001")


def test_nobody_dials(client: ApiClient, make_token: TokenMaker) -> None:
    """Without a PBX that dials, no page offers a call, and the campaigns say why."""
    headers = {"Authorization": f"Bearer {make_token(name='root', role='admin')}"}
    browser = client.application.test_client()
    page = browser.get("/", headers=headers).text
    assert ("data-call-back" in page, 'name="to"' in page) == (False, False)
    assert "No PBX has a dial_context" in browser.get("/campaigns", headers=headers).text
