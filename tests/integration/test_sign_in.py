"""Signing in on the web page: sessions, rights and refusals."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any, NoReturn
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, build_call, build_spy
from argon2 import PasswordHasher, extract_parameters
from sign_in_trail import list_refusals
from sqlalchemy import Engine, event, func, select, text, update
from werkzeug.test import Client, TestResponse

from api.app import ApiSettings, build_app
from api.pages import sign_in as sign_in_page
from api.services import EXTENSION
from earwitness.config import Config
from earwitness.users import set_password
from storage import schema
from storage.catalogue import agents, audit, calls, hits, spies, tokens, users
from storage.catalogue import refusals as refusals_of_strangers
from storage.catalogue.engine import Catalogue
from storage.errors import CatalogueUnavailable
from storage.passwords import hash_password, is_outdated
from storage.records import Actor

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)
COOKIE = "earwitness_session"
Person = Callable[..., str]


@pytest.fixture
def browser(client: ApiClient) -> Client:
    """Return a browser without a session."""
    return client.application.test_client()


@pytest.fixture
def person(catalogue: Catalogue) -> Person:
    """Return a function that creates a user, and returns the name."""

    def make(role: str = "supervisor", team: str | None = None, name: str = "") -> str:
        name = name or f"person-{uuid4()}"
        with catalogue.begin() as tx:
            users.create_user(tx, name=name, role=role, team=team, password_hash=HASH)
        return name

    return make


def sign_in(browser: Client, name: str, password: str = PASSWORD, **options: Any) -> TestResponse:
    """Send the form from an address of its own, because failures per address are limited."""
    address = {"REMOTE_ADDR": options.pop("address", str(uuid4()))}
    form = {"name": name, "password": password, "next": options.pop("next", "/")}
    return browser.post("/sign-in", data=form, environ_base=address, **options)


def csrf_of(browser: Client) -> str:
    """Return the CSRF token on the pages of this session."""
    found = re.search(r'name="csrf" content="([^"]+)"', browser.get("/").text)
    assert found is not None
    return found[1]


def refusals(catalogue: Catalogue, actor: str) -> list[str]:
    """Return the audited refusals of this person."""
    query = select(schema.audit.c.action).where(
        schema.audit.c.actor == actor, schema.audit.c.outcome == "refused"
    )
    with catalogue.begin() as tx:
        return list(tx.scalars(query))


def test_a_page_leads_to_the_form_and_back(browser: Client, person: Person) -> None:
    """A page without a session leads to the form, and from there to the wanted page."""
    redirect = browser.get("/?queue=support")
    assert redirect.status_code == 303
    assert redirect.headers["Location"] == "/sign-in?next=/%3Fqueue%3Dsupport"
    assert 'name="next" value="/?queue=support"' in browser.get(redirect.headers["Location"]).text
    answered = sign_in(browser, person(), next="/?queue=support")
    assert (answered.status_code, answered.headers["Location"]) == (303, "/?queue=support")
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/calls").status_code == 200


@pytest.mark.parametrize(
    "wanted", ["//evil.test/", "/\\evil.test", "https://evil.test/", "evil", "/\r\nX: y", "", "//["]
)
def test_no_way_to_other_sites(browser: Client, person: Person, wanted: str) -> None:
    """From the form a browser only gets to pages of ours, whatever the link."""
    assert browser.get("/sign-in", query_string={"next": wanted}).status_code == 200
    assert sign_in(browser, person(), next=wanted).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "password"), [("", PASSWORD), (None, "wrong"), ("nobody", PASSWORD), ("a\0b", "x")]
)
def test_wrong_credentials_are_refused(
    browser: Client, catalogue: Catalogue, person: Person, name: str | None, password: str
) -> None:
    """A wrong name and a wrong password get the same words and no session, and are audited.

    The entry has the name of a user, and never another text: it may be a password.
    """
    known = {} if name is not None else {"user": person()}
    name, address = known.get("user", name), str(uuid4())
    answered = sign_in(browser, name or "", password, address=address)
    assert answered.status_code == 401
    assert "Name or password is wrong." in answered.text
    assert browser.get_cookie(COOKIE) is None
    entry = {"address": address, "reason": "wrong-password"} | known
    assert list_refusals(catalogue, address) == [entry]


@pytest.mark.parametrize(("scheme", "name"), [("http", COOKIE), ("https", f"__Host-{COOKIE}")])
def test_the_cookie(browser: Client, person: Person, scheme: str, name: str) -> None:
    """No script and no other site can use the cookie; over TLS it belongs to this host."""
    answered = sign_in(browser, person(), base_url=f"{scheme}://localhost")
    (cookie,) = answered.headers.getlist("Set-Cookie")
    flags = {part.strip() for part in cookie.split(";")[1:]}
    assert cookie.startswith(f"{name}=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= flags
    assert ("Secure" in flags) == (scheme == "https")


def test_a_session_expires(browser: Client, catalogue: Catalogue, person: Person) -> None:
    """An expired session does not count, and the next one deletes it."""
    name = person()
    sign_in(browser, name)
    past = datetime.now(UTC) - timedelta(seconds=1)
    with catalogue.begin() as tx:
        found = users.find_user(tx, name)
        assert found is not None
        mine = schema.token.c.user_id == found.id
        tx.execute(update(schema.token).where(mine).values(expires_at=past))
    assert browser.get("/").status_code == 303
    assert browser.get("/api/v1/calls").status_code == 401
    sign_in(browser, name)
    assert count_sessions(catalogue, found.id) == 1


def test_a_hash_of_older_parameters(browser: Client, catalogue: Catalogue, person: Person) -> None:
    """A sign-in replaces a hash with outdated parameters."""
    name = person()
    weak = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    with catalogue.begin() as tx:
        found = users.find_user(tx, name)
        assert found is not None
        users.keep_hash(tx, found.id, weak)
    for _ in range(2):
        assert sign_in(browser, name).status_code == 303
        with catalogue.begin() as tx:
            kept = users.find_user(tx, name)
        assert kept is not None
        assert not is_outdated(kept.password_hash)


def count_sessions(catalogue: Catalogue, user_id: UUID) -> int:
    """Return the number of the person's sessions."""
    with catalogue.begin() as tx:
        return len(tx.execute(select(schema.token).where(schema.token.c.user_id == user_id)).all())


def test_signing_out(client: ApiClient, catalogue: Catalogue, person: Person) -> None:
    """Signing out ends this session and its spies, or all of the person; others continue."""
    name = person()
    here, there, other = (client.application.test_client() for _ in range(3))
    for one in (here, there):
        sign_in(one, name)
    sign_in(other, person())
    with catalogue.begin() as tx:
        started = [
            build_spy(supervisor=name, owner_id=owner_id)
            for owner_id in tx.scalars(
                select(schema.token.c.id)
                .where(schema.token.c.name == name)
                .order_by(schema.token.c.created_at)
            )
        ]
        for spy in started:
            spies.create_spy(tx, spy)
    assert here.post("/sign-out", data={"csrf": csrf_of(here)}).status_code == 303
    causes = [client.get(f"/api/v1/spies/{spy.id}").json["cause"] for spy in started]
    assert causes == ["not-permitted", None]
    assert (here.get("/").status_code, there.get("/").status_code) == (303, 200)
    sign_in(here, name)
    spy = build_spy(supervisor=name)
    with catalogue.begin() as tx:
        spies.create_spy(tx, spy)
    assert here.post("/sign-out-everywhere", data={"csrf": csrf_of(here)}).status_code == 303
    assert [one.get("/").status_code for one in (here, there, other)] == [303, 303, 200]
    assert client.get(f"/api/v1/spies/{spy.id}").json["cause"] == "not-permitted"


def test_another_password_ends_all(
    browser: Client, catalogue: Catalogue, person: Person, database_url: str
) -> None:
    """A new password ends all sessions and spies."""
    name = person()
    sign_in(browser, name)
    spy = build_spy(supervisor=name)
    with catalogue.begin() as tx:
        spies.create_spy(tx, spy)
    config = Config.model_validate({"database": {"url": database_url.replace("+psycopg", "")}})
    set_password(config, name, f"{PASSWORD} 2")
    assert browser.get("/").status_code == 303
    with catalogue.begin() as tx:
        assert spies.get_spy(tx, spy.id).cause == "not-permitted"


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": "mine", "Origin": "https://evil.test"}],
)
def test_changes_need_the_csrf_token_and_our_origin(
    browser: Client, catalogue: Catalogue, person: Person, headers: dict[str, str]
) -> None:
    """A request that changes something needs the CSRF token and our origin."""
    name = person("admin")
    sign_in(browser, name)
    if headers.get("X-CSRF-Token") == "mine":
        headers = headers | {"X-CSRF-Token": csrf_of(browser)}
    rule = {"name": "r", "action": "never"}
    answered = browser.post("/api/v1/rules", json=rule, headers=headers)
    assert (answered.status_code, answered.json["error_id"]) == (403, "forbidden")
    assert refusals(catalogue, name) == ["requests of other sites"]
    good = {"X-CSRF-Token": csrf_of(browser)}
    assert browser.post("/api/v1/rules", json=rule, headers=good).status_code == 201


def test_a_link_cannot_use_the_dialplan(
    browser: Client, catalogue: Catalogue, person: Person
) -> None:
    """A browser that follows a link cannot use the dialplan's GET."""
    name = person("admin")
    sign_in(browser, name)
    answered = browser.get("/api/v1/dialplan/record?channel=PJSIP/2001-1&action=stop")
    assert answered.status_code == 403
    assert refusals(catalogue, name) == ["requests of a dialplan"]


def test_a_refusal_takes_the_same_work(
    browser: Client, catalogue: Catalogue, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name, a wrong password and a user of a provider cost the same hash and queries.

    Else the time of an answer would say which names exist.
    """
    provided = f"provided-{uuid4()}"
    with catalogue.begin() as tx:
        users.bring_user(
            tx, issuer="https://login.example", subject="7", name=provided, role="agent", team=None
        )
    verify = PasswordHasher.verify
    work: list[object] = []

    def note_hash(hasher: PasswordHasher, kept: Any, password: Any) -> Any:
        work.append((extract_parameters(kept), password))
        return verify(hasher, kept, password)

    def note_query(*given: Any) -> None:
        work.append(given[2])

    monkeypatch.setattr(PasswordHasher, "verify", note_hash)
    event.listen(Engine, "before_cursor_execute", note_query)
    try:
        done, address = [], str(uuid4())
        for name in ("nobody", person(), provided, "nobody else"):
            work.clear()
            answered = sign_in(browser, name, "a wrong password", address=address)
            assert answered.status_code == 401
            done.append([*work])
    finally:
        event.remove(Engine, "before_cursor_execute", note_query)
    unknown = done[0]
    assert len([one for one in unknown if isinstance(one, tuple)]) == 1
    assert done == [unknown] * 4


def test_a_form_of_another_site(browser: Client, catalogue: Catalogue, person: Person) -> None:
    """Another site cannot sign a browser in, nor fill the trail, nor lock its person out."""
    name, address = person(), str(uuid4())
    form, beside = {"name": name, "password": PASSWORD}, {"REMOTE_ADDR": address}
    origins = ["https://evil.test", "http://["] * 15 + ["https://evil.test"]
    answers = [
        browser.post("/sign-in", data=form, headers={"Origin": one}, environ_base=beside)
        for one in origins
    ]
    assert [one.status_code for one in answers] == [403] * 30 + [429]
    reasons = [one["reason"] for one in list_refusals(catalogue, address)]
    assert reasons == ["other-site", "too-many-attempts"]
    assert name not in str(list_refusals(catalogue, address))
    assert browser.post("/sign-in", data=form, environ_base=beside).status_code == 303


@pytest.mark.parametrize(("proxies", "address"), [(0, "192.0.2.1"), (1, "198.51.100.7")])
def test_the_proxy_gives_the_address(
    client: ApiClient, catalogue: Catalogue, proxies: int, address: str
) -> None:
    """Behind a proxy the address is the one that the proxy adds; else headers do not count."""
    services = client.application.extensions[EXTENSION]
    settings = ApiSettings(proxies=proxies)
    app = build_app(catalogue, services.objects, services.capture, services.spies, settings)
    name = f"nobody-{uuid4()}"
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    beside = {"REMOTE_ADDR": "192.0.2.1"}
    app.test_client().post("/sign-in", data={"name": name}, headers=forwarded, environ_base=beside)
    assert list_refusals(catalogue, address) != []


def test_too_often(client: ApiClient, person: Person) -> None:
    """Wrong passwords are limited per address and per name."""
    browser = client.application.test_client()
    tried = [browser.post("/sign-in", data={"name": str(n)}).status_code for n in range(31)]
    assert tried == [401] * 30 + [429]
    assert browser.get("/sign-in").status_code == 200
    name = person()
    form, there = {"name": name, "password": "wrong"}, {"REMOTE_ADDR": "198.51.100.9"}
    answers = [browser.post("/sign-in", data=form, environ_base=there) for _ in range(11)]
    assert [one.status_code for one in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    right = form | {"password": PASSWORD}
    assert browser.post("/sign-in", data=right, environ_base=there).status_code == 429
    assert sign_in(browser, name).status_code == 303  # from elsewhere its owner is let in


def test_an_ipv6_network_is_one_address(client: ApiClient, catalogue: Catalogue) -> None:
    """A stranger with a network of IPv6 is limited as one, and gets one entry."""
    browser, network = client.application.test_client(), f"2001:db8:{uuid4().hex[:4]}:7"
    tried = [
        sign_in(browser, f"nobody-{n}", address=f"{network}::{n:x}").status_code for n in range(31)
    ]
    assert tried == [401] * 30 + [429]
    found = list_refusals(catalogue, str(ip_network(f"{network}::/64")))
    assert [one["reason"] for one in found] == ["wrong-password"] * 10


def test_strangers_cannot_fill_the_trail(
    client: ApiClient, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused sign-ins leave a bounded number of entries, from an address and from all."""
    monkeypatch.setattr(refusals_of_strangers, "PER_ADDRESS", 3)
    monkeypatch.setattr(refusals_of_strangers, "IN_ALL", 5)
    with catalogue.begin() as tx:
        hits.delete_hits(tx)
        tx.execute(text("DELETE FROM audit WHERE actor = 'sign-in'"))
    browser = client.application.test_client()
    first, *others = (str(uuid4()) for _ in range(4))
    for address, name in [*((first, str(n)) for n in range(5)), *((one, "") for one in others)]:
        assert sign_in(browser, name, address=address).status_code == 401
    query = select(schema.audit.c.detail).where(schema.audit.c.actor == "sign-in")
    with catalogue.begin() as tx:
        kept = list(tx.scalars(query.order_by(schema.audit.c.id)))
    assert [one.get("address") for one in kept] == [first] * 3 + [others[0], None]
    assert kept[-1] == {"reason": "too-many-refusals"}


def test_an_unknown_token_leaves_no_entry(client: ApiClient, catalogue: Catalogue) -> None:
    """A request with an unknown token is refused, and writes nothing."""
    count = select(func.count()).select_from(schema.audit)
    with catalogue.begin() as tx:
        before = tx.scalar(count)
    browser = client.application.test_client()
    headers = {"Authorization": f"Bearer {uuid4()}"}
    for path in ("/api/v1/calls", "/api/v1/audit", "/api/v1/dialplan/record?channel=a&action=stop"):
        assert browser.get(path, headers=headers).status_code == 401
    with catalogue.begin() as tx:
        assert tx.scalar(count) == before


def test_too_often_from_everywhere(
    client: ApiClient, catalogue: Catalogue, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong passwords for a name are limited over all addresses."""
    monkeypatch.setattr(sign_in_page, "FAILURES_PER_NAME", "3 per minute")
    services, settings = client.application.extensions[EXTENSION], ApiSettings()
    app = build_app(catalogue, services.objects, services.capture, services.spies, settings)
    name = person()
    tried = [sign_in(app.test_client(), name, "wrong").status_code for _ in range(4)]
    assert tried == [401] * 3 + [429]


def test_a_role_that_changes_counts_at_once(
    browser: Client, catalogue: Catalogue, person: Person
) -> None:
    """The rights of a session are those of its user, at once."""
    name = person("admin")
    sign_in(browser, name)
    assert browser.get("/api/v1/rules").status_code == 200
    with catalogue.begin() as tx:
        tx.execute(text("UPDATE \"user\" SET role = 'agent' WHERE name = :name"), {"name": name})
    assert browser.get("/api/v1/rules").status_code == 403


def test_a_team_sees_its_own(browser: Client, catalogue: Catalogue, person: Person) -> None:
    """An agent who signs in belongs to the team, as an agent with a token does."""
    team = f"team-{uuid4()}"
    signs_in, has_token = person("agent", team), f"token-{uuid4()}"
    others = person("agent", "another team")
    with catalogue.begin() as tx:
        tokens.create_token(tx, name=has_token, role="agent", team=team)
        for agent in (signs_in, has_token, others):
            calls.save_calls(tx, [build_call(id=f"main-{agent}", agent=agent, state="up")])
        assert agents.find_teams(tx, [signs_in, has_token]) == {signs_in: team, has_token: team}
        assert agents.list_teams(tx, team=team) == {signs_in: team, has_token: team}
    sign_in(browser, person(team=team))
    seen = {call["agent"] for call in browser.get("/api/v1/calls").json["items"]}
    assert seen == {signs_in, has_token}


def test_an_agent_sees_no_other_names(
    browser: Client, catalogue: Catalogue, person: Person
) -> None:
    """An agent without a team sees no names and teams of others."""
    other, team = f"agent-{uuid4()}", f"team-{uuid4()}"
    with catalogue.begin() as tx:
        tokens.create_token(tx, name=other, role="agent", team=team)
    sign_in(browser, person("agent"))
    shown = browser.get("/").text
    assert other not in shown
    assert team not in shown


def test_a_forbidden_page_is_audited(browser: Client, catalogue: Catalogue) -> None:
    """A forbidden page names the next step, and is audited."""
    with catalogue.begin() as tx:
        _, token = tokens.create_token(tx, name="meter", role="service", scopes=["metrics.read"])
    answered = browser.get("/", headers={"Authorization": f"Bearer {token}"})
    assert (answered.status_code, answered.mimetype) == (403, "text/html")
    assert "You may not see this page" in answered.text
    assert refusals(catalogue, "meter") == ["calls.read"]


def test_the_trail_on_a_page(browser: Client, person: Person, catalogue: Catalogue) -> None:
    """The trail is filtered, continues, and says when nothing matches or a filter is wrong."""
    actor = f"actor-{uuid4()}"
    with catalogue.begin() as tx:
        audit.add_audits(
            tx,
            Actor("link", actor),
            "link.open",
            [f"subject-{n}" for n in range(60)],
            detail={"a": 1},
        )
    sign_in(browser, person(role="compliance"))
    first = browser.get(f"/audit?actor={actor}&actor_kind=link&outcome=done").text
    assert '<span class="sub quiet">shared link</span>' in first
    assert (first.count("<tr>"), "subject-59" in first, "a: 1" in first) == (51, True, True)
    (more,) = re.findall(r'href="(/audit\?[^"]*cursor=[^"]*)"', first)
    more = more.replace("&amp;", "&")
    assert "<html" in browser.get(more).text
    rest = browser.get(more, headers={"HX-Request": "true", "HX-Target": "more"}).text
    assert (rest.count("<tr>"), "subject-0" in rest, "<html" in rest) == (10, True, False)
    assert "No entry matches" in browser.get(f"/audit?actor={actor}&outcome=refused").text
    for wrong in ("outcome=maybe", "actor_kind=robot", "cursor=x", "nonsense=1"):
        assert "This search is not possible" in browser.get(f"/audit?{wrong}").text


def test_a_browser_gets_errors_as_pages(browser: Client, person: Person) -> None:
    """A browser gets a page with the next step, a program the problem."""
    sign_in(browser, person())
    shown = browser.get("/nothing", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (shown.status_code, shown.mimetype) == (404, "text/html")
    assert "Use the pages above" in shown.text
    problem = browser.get("/nothing", headers={"Accept": "*/*"})
    assert (problem.status_code, problem.mimetype) == (404, "application/problem+json")
    form = browser.application.test_client().get("/nothing", headers={"Accept": "text/html"})
    assert (form.status_code, form.headers["Location"]) == (303, "/sign-in?next=/nothing")


def test_the_catalogue_is_away(
    browser: Client, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the database a browser gets a page with a time to retry."""
    sign_in(browser, person())

    def away(*_: object, **__: object) -> NoReturn:
        raise CatalogueUnavailable("PostgreSQL: gone")

    monkeypatch.setattr(tokens, "find_token", away)
    shown = browser.get("/library", headers={"Accept": "text/html"})
    assert (shown.status_code, shown.mimetype) == (503, "text/html")
    assert "This is not available now" in shown.text
    assert shown.headers["Retry-After"]


def test_pages_load_only_our_scripts(browser: Client, person: Person) -> None:
    """Pages load only our scripts, and no other site can frame them."""
    sign_in(browser, person())
    policy = browser.get("/").headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert "ws://localhost:8081" in directives["connect-src"]
