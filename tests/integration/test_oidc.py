"""Single sign-on with an identity provider that really runs."""

import hmac
import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest
import requests
from api_client import CatalogueCapture, CatalogueSpies, build_call, build_spy
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OctKey
from served import serving
from sign_in_trail import list_refusals
from sqlalchemy import func, insert, select, update
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

import api.oidc
from api.app import ApiSettings, build_app
from api.errors import ProviderUnavailable
from api.services import EXTENSION
from api.turns import AT_ONCE
from earwitness.config import Config
from earwitness.doctor import examine_oidc
from earwitness.users import set_password
from earwitness.wiring import oidc_settings
from lab.provider import CLIENT_ID, CLIENT_SECRET, Provider, new_key
from lab.waiting import until
from storage import schema
from storage.catalogue import calls, hits, spies, tokens, users
from storage.catalogue.engine import Catalogue
from storage.errors import ConfigurationInvalid
from storage.objects.s3 import S3ObjectStore
from storage.passwords import hash_password
from storage.records import UserRecord

COOKIE, SESSION = "earwitness_sign_in", "earwitness_session"
CALLBACK = "/sign-in/oidc/callback"
UNPROVEN = "This took too long, or was started in another browser."
PASSWORD = "correct horse battery"
AppMaker = Callable[..., Flask]


def base64url(given: bytes) -> str:
    """Return the bytes as a part of a token."""
    return urlsafe_b64encode(given).decode().rstrip("=")


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Start an identity provider."""
    with Provider() as one:
        yield one


@pytest.fixture
def make_app(
    catalogue: Catalogue, objects: S3ObjectStore, recorder: CatalogueCapture
) -> Iterator[AppMaker]:
    """Return a function that builds applications from a configuration of the provider."""
    made: list[Flask] = []

    def make(issuer: str, **changed: Any) -> Flask:
        config = configure(issuer, **changed)
        settings = ApiSettings(oidc=oidc_settings(config), passwords=config.oidc.passwords)
        supervisor = CatalogueSpies(catalogue)
        made.append(build_app(catalogue, objects, recorder, supervisor, settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions[EXTENSION].feed.close()


@pytest.fixture
def app(make_app: AppMaker, provider: Provider) -> Flask:
    """Return an application with the provider."""
    return make_app(provider.issuer)


def configure(issuer: str, **changed: Any) -> Config:
    """Return the configuration of the provider."""
    known = {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return Config.model_validate({"oidc": known | changed})


class Browser:
    """A browser for an application and the provider, with an address of its own."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()
        self.address = str(uuid4())
        self._address = {"REMOTE_ADDR": self.address}

    def get(self, path: str) -> TestResponse:
        """Return a page of the application."""
        return self.client.get(path, environ_base=self._address)

    def begin(self, wanted: str = "/") -> str:
        """Start a sign-in, and return the provider's address."""
        answered = self.get(f"/sign-in/oidc?{urlencode({'next': wanted})}")
        assert answered.status_code == 303, answered.text
        return answered.headers["Location"]

    def prove(self, url: str, user: str, act: str = "in") -> str:
        """Send the provider's form, and return the address of the callback."""
        form = {"user": user, "act": act}
        answered = requests.post(url, data=form, allow_redirects=False, timeout=10)
        assert answered.status_code == 303, answered.text
        return answered.headers["Location"]

    def sign_in(self, user: str, wanted: str = "/", act: str = "in") -> TestResponse:
        """Sign in completely, and return the application's last answer."""
        return self.get(self.prove(self.begin(wanted), user, act))


def person(provider: Provider, role: Any = "supervisor", **claims: Any) -> str:
    """Return the subject of a person at the provider, which is also the name."""
    name = f"person-{uuid4()}"
    provider.people[name] = {
        "preferred_username": name,
        "earwitness_role": role,
        "earwitness_team": "support",
        **claims,
    }
    return name


def find(catalogue: Catalogue, name: str) -> UserRecord | None:
    """Return the user of this name."""
    with catalogue.begin() as tx:
        return users.find_user(tx, name)


def trail(catalogue: Catalogue, actor: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the audited actions of this person, in order."""
    columns = (schema.audit.c.action, schema.audit.c.outcome, schema.audit.c.detail)
    query = select(*columns).where(schema.audit.c.actor == actor).order_by(schema.audit.c.id)
    with catalogue.begin() as tx:
        return [(one.action, one.outcome, one.detail) for one in tx.execute(query)]


def count(catalogue: Catalogue, table: Any) -> int:
    """Return the number of rows of a table."""
    with catalogue.begin() as tx:
        return int(tx.scalar(select(func.count()).select_from(table)) or 0)


def test_a_whole_sign_in(
    provider: Provider, catalogue: Catalogue, arguments: str, tmp_path: Path
) -> None:
    """A sign-in leads to the wanted page, whichever process answers."""
    name = person(provider, "supervisor", earwitness_team="sales")
    settings = configure(provider.issuer).oidc.model_dump(mode="json")
    known = {**settings, "client_secret": CLIENT_SECRET}
    with serving(json.dumps({**json.loads(arguments), "oidc": known}), tmp_path) as service:
        browser = requests.Session()
        form = browser.get(f"{service.url}/library?tag=vip", timeout=10)
        assert "Sign in with single sign-on" in form.text
        assert 'href="/sign-in/oidc?next=/library%3Ftag%3Dvip" hx-boost="false"' in form.text
        link = f"{service.url}/sign-in/oidc?next=/library%3Ftag%3Dvip"
        form = browser.get(link, timeout=10)
        page = browser.post(form.url, data={"user": name, "act": "in"}, timeout=10)
        assert (page.status_code, page.url) == (200, f"{service.url}/library?tag=vip")
        assert name in page.text
        assert browser.get(f"{service.url}/api/v1/calls", timeout=10).status_code == 200
        assert {*browser.cookies.keys()} == {SESSION}
    query = parse_qs(urlsplit(form.url).query)
    assert query["redirect_uri"] == [f"{service.url}{CALLBACK}"]
    assert query["scope"] == ["openid profile"]
    found = find(catalogue, name)
    assert found is not None
    assert (found.role, found.team, found.password_hash) == ("supervisor", "sales", None)
    issued = {"issuer": provider.issuer, "subject": name}
    assert trail(catalogue, name) == [
        (
            "session.begin",
            "done",
            {"address": "127.0.0.1", "role": "supervisor", "team": "sales", **issued},
        )
    ]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie(app: Flask, scheme: str) -> None:
    """Only this browser has the state of a sign-in, for ten minutes."""
    answered = app.test_client().get("/sign-in/oidc", base_url=f"{scheme}://localhost")
    (cookie,) = answered.headers.getlist("Set-Cookie")
    flags = {part.strip() for part in cookie.split(";")[1:]}
    assert cookie.startswith(f"__Host-{COOKIE}=" if scheme == "https" else f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= flags
    assert ("Secure" in flags) == (scheme == "https")


def test_a_head_begins_and_ends_no_sign_in(app: Flask, provider: Provider) -> None:
    """A HEAD starts no sign-in, and does not use up the one that has begun."""
    assert "Set-Cookie" not in app.test_client().head("/sign-in/oidc").headers
    mine = Browser(app)
    back = mine.prove(mine.begin(), person(provider))
    assert mine.client.head(back).status_code == 405
    assert mine.get(back).status_code == 303


@pytest.mark.parametrize("wanted", ["//evil.test/", "https://evil.test/", "/\\evil.test"])
def test_no_way_to_other_sites(app: Flask, provider: Provider, wanted: str) -> None:
    """After the provider a browser only gets to pages of ours, whatever the link."""
    answered = Browser(app).sign_in(person(provider), wanted)
    assert (answered.status_code, answered.headers["Location"]) == (303, "/")


def assert_unproven(browser: Browser, answered: TestResponse) -> None:
    """Check that the page names the next step, nobody is signed in, and the trail says as much.

    The entry holds nothing that the browser or the provider sent.
    """
    assert (answered.status_code, answered.mimetype) == (400, "text/html")
    assert UNPROVEN in answered.text
    assert browser.client.get_cookie(SESSION) is None
    assert browser.client.get_cookie(COOKIE) is None
    catalogue = browser.client.application.extensions[EXTENSION].catalogue
    entry = {"address": browser.address, "reason": "sign-in-unproven"}
    assert list_refusals(catalogue, browser.address) == [entry]


def test_another_sign_ins_answer_is_refused(app: Flask, provider: Provider) -> None:
    """The answer to another sign-in signs nobody in."""
    theirs = Browser(app)
    stolen = theirs.prove(theirs.begin(), person(provider))
    mine = Browser(app)
    mine.begin()
    assert_unproven(mine, mine.get(stolen))
    stranger = Browser(app)
    assert_unproven(stranger, stranger.get(stolen))
    assert theirs.get(stolen).status_code == 303


def test_a_strangers_answer_signs_nobody_in(app: Flask, provider: Provider) -> None:
    """A page that sends a browser to its own answer signs that browser in as nobody.

    Also while the browser has begun a sign-in of its own, which then starts again.
    """
    theirs, mine = Browser(app), Browser(app)
    stolen = parse_qs(urlsplit(theirs.prove(theirs.begin(), person(provider))).query)
    url = mine.begin()
    ours = parse_qs(urlsplit(url).query)
    mixed = urlencode({"code": stolen["code"][0], "state": ours["state"][0]})
    assert_unproven(mine, mine.get(f"{CALLBACK}?{mixed}"))
    again = Browser(app)
    back = again.prove(again.begin(), person(provider))
    assert again.get(back).status_code == 303


def test_an_answer_that_names_another_issuer(app: Flask, provider: Provider) -> None:
    """A provider that says who it is (RFC 9207) is the one that was asked."""
    browser, name = Browser(app), person(provider)
    back = browser.prove(browser.begin(), name)
    assert_unproven(browser, browser.get(f"{back}&iss=https%3A%2F%2Fevil.test"))
    other = Browser(app)
    back = other.prove(other.begin(), name)
    assert other.get(f"{back}&{urlencode({'iss': provider.issuer})}").status_code == 303


@pytest.mark.parametrize("error", ["<script>", "a b", "x" * 200, "server_error"])
def test_an_error_of_the_provider(app: Flask, provider: Provider, error: str) -> None:
    """An error of the provider is logged by its code, and any other text is not."""
    browser = Browser(app)
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    with capture_logs() as logged:
        assert_away(browser.get(f"{CALLBACK}?{urlencode({'state': state, 'error': error})}"))
    (line,) = [one for one in logged if one["event"] == "sign-in.failed"]
    assert (error in line["detail"]) == (error == "server_error")


def test_coming_back_twice(app: Flask, provider: Provider) -> None:
    """An answer of the provider counts once, whatever the browser sends."""
    browser = Browser(app)
    back = browser.prove(browser.begin(), person(provider))
    kept = browser.client.get_cookie(COOKIE)
    assert kept is not None
    assert browser.get(back).status_code == 303
    other = Browser(app)
    other.client.set_cookie(COOKIE, kept.value)
    assert_unproven(other, other.get(back))
    assert provider.paths.count("/token") == 1
    late = Browser(app)  # the code alone, for a sign-in of one's own
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(late.begin()).query)["state"][0]
    assert_unproven(late, late.get(f"{CALLBACK}?{urlencode({'code': code, 'state': state})}"))


def test_a_cookie_that_was_changed(app: Flask, provider: Provider) -> None:
    """A changed cookie counts as none."""
    browser = Browser(app)
    back = browser.prove(browser.begin(), person(provider))
    kept = browser.client.get_cookie(COOKIE)
    assert kept is not None
    browser.client.set_cookie(COOKIE, kept.value[:-1] + ("A" if kept.value[-1] != "A" else "B"))
    assert_unproven(browser, browser.get(back))


def test_a_sign_in_expires(app: Flask, provider: Provider, catalogue: Catalogue) -> None:
    """A sign-in expires after ten minutes, and the next one deletes it."""
    browser = Browser(app)
    back = browser.prove(browser.begin(), person(provider))
    past = datetime.now(UTC) - timedelta(seconds=1)
    with catalogue.begin() as tx:
        tx.execute(update(schema.sign_in).values(expires_at=past))
    assert_unproven(browser, browser.get(back))
    browser.begin()
    assert count(catalogue, schema.sign_in) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": "another", "azp": CLIENT_ID},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"iss": "https://evil.test"},
        {"aud": []},
        {"iss": None},
        {"iss": "http://127.0.0.1"},
        {"exp": 1},
        {"exp": "never"},
        {"exp": None},
        {"nbf": 1 << 40},
        {"iat": 1 << 40},
        {"sub": ""},
        {"sub": None},
        {"sub": ["a", "b"]},
        {"sub": "a\nb"},
        {"sub": "a" * 256},
        {"at_hash": "another"},
    ],
)
def test_claims_that_prove_nothing(app: Flask, provider: Provider, changes: dict[str, Any]) -> None:
    """An id_token for another client, of another issuer, too old or from the future is refused."""
    browser = Browser(app)
    name = person(provider)
    provider.changes = changes
    assert_unproven(browser, browser.sign_in(name))
    provider.changes = {}
    assert browser.sign_in(name).status_code == 303


@pytest.mark.parametrize(
    "how",
    ["unknown key", "known name", "own key", "none", "None", "secret", "public key", "unsigned"],
)
def test_signatures_that_prove_nothing(
    app: Flask, provider: Provider, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """An id_token counts only with a signature of a key of the provider."""
    name, browser = person(provider), Browser(app)
    encode = jwt.encode

    def forge(header: Any, claims: Any, key: Any) -> str:
        if how in ("none", "None", "unsigned"):
            begin, body, _ = encode(header, claims, key).split(".")
            if how != "unsigned":
                begin = base64url(json.dumps({"alg": how, "kid": key.kid}).encode())
            return f"{begin}.{body}."
        if how == "secret":
            return encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET * 8))
        if how == "public key":  # which everybody knows
            _, body, _ = encode(header, claims, key).split(".")
            begin = base64url(json.dumps({"alg": "HS256", "kid": key.kid}).encode())
            signed = f"{begin}.{body}".encode()
            secret = key.as_pem(private=False)
            return f"{begin}.{body}.{base64url(hmac.digest(secret, signed, 'sha256'))}"
        forger = new_key()
        begun = {"alg": "RS256", "kid": forger.kid if how == "unknown key" else key.kid}
        if how == "own key":  # the token itself says which key to use
            begun = {"alg": "RS256", "jwk": forger.as_dict(private=False)}
        return encode(begun, claims, forger)

    monkeypatch.setattr("lab.provider.jwt.encode", forge)
    assert_unproven(browser, browser.sign_in(name))


def test_the_provider_changes_its_key(app: Flask, provider: Provider) -> None:
    """Metadata is loaded once, keys again when one is unknown."""
    name = person(provider)
    assert Browser(app).sign_in(name).status_code == 303
    provider.rotate()
    assert Browser(app).sign_in(name).status_code == 303
    assert Browser(app).sign_in(name).status_code == 303
    paths = [path for path in provider.paths if path not in {"/authorize", "/token", "/userinfo"}]
    assert paths == ["/.well-known/openid-configuration", "/keys", "/keys"]


def test_missing_claims_come_from_userinfo(
    app: Flask, provider: Provider, catalogue: Catalogue
) -> None:
    """Claims missing in the id_token come from userinfo; the id_token has precedence."""
    name = f"person-{uuid4()}"
    provider.people[name] = {"preferred_username": name, "earwitness_role": "agent"}
    provider.userinfo[name] = {"earwitness_role": "admin", "earwitness_team": "sales"}
    assert Browser(app).sign_in(name).status_code == 303
    found = find(catalogue, name)
    assert found is not None
    assert (found.role, found.team) == ("agent", "sales")
    provider.userinfo[name]["sub"] = "another"
    browser = Browser(app)
    assert_unproven(browser, browser.sign_in(name))


def test_cancelled(app: Flask, provider: Provider) -> None:
    """A person who cancels sees the form, and can still get to the wanted page."""
    browser = Browser(app)
    answered = browser.sign_in(person(provider), "/library", act="no")
    assert answered.status_code == 401
    assert "You were not signed in by single sign-on." in answered.text
    assert "next=/library" in answered.text


@pytest.mark.parametrize("role", [None, [], "boss", ["boss"], {"admin": True}, "Admin"])
def test_no_role(app: Flask, provider: Provider, catalogue: Catalogue, role: Any) -> None:
    """A person without a role is refused with the reason, and audited."""
    name = person(provider, role)
    browser = Browser(app)
    answered = browser.sign_in(name)
    assert answered.status_code == 403
    assert "According to single sign-on you have no role or no team here." in answered.text
    assert find(catalogue, name) is None
    (detail,) = list_refusals(catalogue, browser.address)
    assert (detail["reason"], detail["subject"]) == ("not-admitted", name)
    assert detail["cause"] == "no role of ours in the claim earwitness_role"


def test_a_role_by_groups(make_app: AppMaker, provider: Provider, catalogue: Catalogue) -> None:
    """Configured groups give a role, and then its own name gives none."""
    roles = {"compliance": ["ew-legal"], "supervisor": ["ew-leads", "leads"]}
    app = make_app(provider.issuer, role_claim="access.groups", roles=roles)
    for groups, status, role in (
        (["all", "leads", "ew-legal"], 303, "compliance"),
        ("leads", 303, "supervisor"),
        (["admin"], 403, None),
    ):
        name = person(provider, None, access={"groups": groups})
        assert Browser(app).sign_in(name).status_code == status
        found = find(catalogue, name)
        assert (found.role if found is not None else None) == role


def test_a_role_that_changes(app: Flask, provider: Provider, catalogue: Catalogue) -> None:
    """Role, team and name come from the newest sign-in; without a role all sessions end."""
    name = person(provider, "admin")
    here, there = Browser(app), Browser(app)
    assert here.sign_in(name).status_code == 303
    first = find(catalogue, name)
    assert here.get("/api/v1/rules").status_code == 200
    renamed = f"person-{uuid4()}"
    provider.people[name] |= {
        "preferred_username": renamed,
        "earwitness_role": "agent",
        "earwitness_team": "sales",
    }
    assert there.sign_in(name).status_code == 303
    second = find(catalogue, renamed)
    assert first is not None
    assert second is not None
    assert (second.id, second.role, second.team) == (first.id, "agent", "sales")
    assert [one.get("/api/v1/rules").status_code for one in (here, there)] == [403, 403]
    provider.people[name]["earwitness_role"] = "none"
    assert Browser(app).sign_in(name).status_code == 403
    assert [one.get("/api/v1/calls").status_code for one in (here, there)] == [401, 401]


def test_another_role_ends_the_spies(app: Flask, provider: Provider, catalogue: Catalogue) -> None:
    """A sign-in with another role ends the person's spies; any other does not."""
    name = person(provider, "supervisor")
    spy = build_spy(supervisor=name)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=spy.call_id)])
        spies.create_spy(tx, spy)
    first = ("supervisor", "requested")
    for role, state in (first, first, ("agent", "ended")):
        provider.people[name]["earwitness_role"] = role
        assert Browser(app).sign_in(name).status_code == 303
        with catalogue.begin() as tx:
            assert spies.get_spy(tx, spy.id).state == state


def test_the_name_of_a_token_is_not_taken_over(
    app: Flask, provider: Provider, catalogue: Catalogue
) -> None:
    """A person with the name of a token is refused."""
    name = person(provider, "supervisor")
    with catalogue.begin() as tx:
        tokens.create_token(tx, name=name, role="compliance")
    assert Browser(app).sign_in(name).status_code == 409
    assert find(catalogue, name) is None


def test_a_local_name_is_not_taken_over(
    app: Flask, provider: Provider, catalogue: Catalogue
) -> None:
    """A person with the name of a local user, or of another issuer's, is refused."""
    name = person(provider, "admin")
    kept = hash_password(PASSWORD)
    with catalogue.begin() as tx:
        users.create_user(tx, name=name, role="agent", team=None, password_hash=kept)
    browser = Browser(app)
    answered = browser.sign_in(name)
    assert answered.status_code == 409
    assert "Your name is taken or reserved here." in answered.text
    found = find(catalogue, name)
    assert found is not None
    assert (found.role, found.password_hash, found.issuer) == ("agent", kept, None)
    (detail,) = list_refusals(catalogue, browser.address)
    assert (detail["reason"], detail["subject"]) == ("name-taken", name)


@pytest.mark.parametrize("name", ["watch", "Rules", "link 1"])
def test_a_reserved_name(app: Flask, provider: Provider, catalogue: Catalogue, name: str) -> None:
    """The provider's names are names like any other: none looks like a part of the program."""
    answered = Browser(app).sign_in(person(provider, preferred_username=name))
    assert answered.status_code == 409
    assert find(catalogue, name) is None


def test_a_known_person_keeps_a_reserved_name(
    app: Flask, provider: Provider, catalogue: Catalogue
) -> None:
    """A person who had the name before it was reserved still signs in."""
    subject = person(provider, preferred_username="media")
    row = {"id": uuid4(), "name": "media", "role": "agent", "without": []}
    known = {"issuer": provider.issuer, "subject": subject, "created_at": datetime.now(UTC)}
    with catalogue.begin() as tx:
        tx.execute(insert(schema.user).values(row | known))
    assert Browser(app).sign_in(subject).status_code == 303


def test_no_password(
    app: Flask, provider: Provider, catalogue: Catalogue, database_url: str
) -> None:
    """A user of the provider has no password, and gets none."""
    name = person(provider)
    assert Browser(app).sign_in(name).status_code == 303
    form = {"name": name, "password": PASSWORD}
    address = {"REMOTE_ADDR": str(uuid4())}
    answered = app.test_client().post("/sign-in", data=form, environ_base=address)
    assert answered.status_code == 401
    assert "Name or password is wrong." in answered.text
    config = Config.model_validate({"database": {"url": database_url.replace("+psycopg", "")}})
    with pytest.raises(ConfigurationInvalid, match="has no password here"):
        set_password(config, name, PASSWORD)


def test_without_passwords(make_app: AppMaker, provider: Provider, catalogue: Catalogue) -> None:
    """With the provider alone there is no form, and a sent form is refused."""
    app = make_app(provider.issuer, passwords=False, name="Acme & Co")
    name = f"person-{uuid4()}"
    with catalogue.begin() as tx:
        users.create_user(
            tx, name=name, role="admin", team=None, password_hash=hash_password(PASSWORD)
        )
    page = Browser(app).get("/sign-in").text
    assert "Sign in with Acme &amp; Co" in page
    assert 'name="password"' not in page
    address = str(uuid4())
    form, beside = {"name": name, "password": PASSWORD}, {"REMOTE_ADDR": address}
    answered = app.test_client().post("/sign-in", data=form, environ_base=beside)
    assert (answered.status_code, answered.headers.getlist("Set-Cookie")) == (403, [])
    assert [one["reason"] for one in list_refusals(catalogue, address)] == ["no-passwords"]
    admin = Browser(app)
    assert admin.sign_in(person(provider, "admin")).status_code == 303
    system = admin.get("/system").text
    assert provider.issuer in system
    assert "user-password" not in system


def test_no_provider(make_app: AppMaker) -> None:
    """Without a provider no link leads to one."""
    browser = Browser(make_app("", client_id=""))
    assert "/sign-in/oidc" not in browser.get("/sign-in").text
    assert browser.get("/sign-in/oidc").status_code == 404
    assert browser.get(CALLBACK).status_code == 404


def assert_away(answered: TestResponse) -> None:
    """Check that the page says so, and still has the form for a password."""
    assert (answered.status_code, answered.mimetype) == (503, "text/html")
    assert answered.headers["Retry-After"] == "5"
    assert "There is no answer from single sign-on." in answered.text
    assert 'name="password"' in answered.text


def test_a_provider_that_says_nothing(
    make_app: AppMaker, monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue
) -> None:
    """A silent provider delays nobody for long, and for a while nobody again."""
    monkeypatch.setattr(api.oidc, "TIMEOUT_S", 0.5)
    before = count(catalogue, schema.sign_in)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        browser = Browser(make_app(f"http://127.0.0.1:{mute.getsockname()[1]}"))
        for _ in range(2):
            assert_away(browser.get("/sign-in/oidc?next=/library"))
        mute.setblocking(False)
        mute.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it was asked once
            mute.accept()
    assert count(catalogue, schema.sign_in) == before


def test_other_requests_do_not_wait(
    make_app: AppMaker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that wait for the provider do not delay others."""
    monkeypatch.setattr(api.oidc, "TIMEOUT_S", 60)
    app = make_app(provider.issuer)
    begin, begun = api.oidc.Provider.begin, []

    def note(self: api.oidc.Provider, *arguments: str) -> Any:
        begun.append(arguments)
        return begin(self, *arguments)

    monkeypatch.setattr(api.oidc.Provider, "begin", note)
    browsers = [Browser(app) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        provider.answers.clear()
        going = [pool.submit(one.begin) for one in browsers]
        until(lambda: len(begun) == AT_ONCE)
        assert Browser(app).get("/sign-in").status_code == 200
        assert not any(one.done() for one in going)
        provider.answers.set()
        name = person(provider)
        backs = [one.prove(url.result(10), name) for one, url in zip(browsers, going, strict=True)]
        provider.answers.clear()
        coming = [pool.submit(one.get, back) for one, back in zip(browsers, backs, strict=True)]
        until(lambda: provider.paths.count("/token") == AT_ONCE)
        assert Browser(app).get("/sign-in").status_code == 200
        provider.answers.set()
        assert [one.result(10).status_code for one in coming] == [303] * AT_ONCE


def test_a_provider_that_goes_away(app: Flask, provider: Provider, catalogue: Catalogue) -> None:
    """The provider may fail in the middle of a sign-in; the log holds no secret."""
    browser = Browser(app)
    back = browser.prove(browser.begin(), person(provider))
    provider.stop()
    with capture_logs() as logged:
        assert_away(browser.get(back))
    (line,) = [one for one in logged if one["event"] == "sign-in.failed"]
    assert line["error_id"] == "provider-unavailable"
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert not any(secret in str(line) for secret in (code, CLIENT_SECRET))


def test_metadata_is_kept_for_an_hour(provider: Provider) -> None:
    """Metadata is kept for an hour, a failure for seconds."""
    settings = oidc_settings(configure(provider.issuer))
    assert settings is not None
    now = [0.0]
    known = api.oidc.Provider(settings, clock=lambda: now[0])

    def check(at_s: float) -> str:
        now[0] = at_s
        return known.check()

    assert [check(at_s) for at_s in (0, 3599, 3601, 7200)] == ["RS256"] * 4
    assert len(provider.paths) == 2
    provider.stop()
    for at_s in (7202, 7206):
        with pytest.raises(ProviderUnavailable):
            check(at_s)


def test_a_wrong_secret(make_app: AppMaker, provider: Provider) -> None:
    """A wrong client secret signs nobody in; the log has the reason without the secret."""
    browser = Browser(make_app(provider.issuer, client_secret="whisper"))
    with capture_logs() as logged:
        assert_unproven(browser, browser.sign_in(person(provider)))
    (line,) = [one for one in logged if one["event"] == "sign-in.failed"]
    assert "invalid_client" in line["detail"]
    assert "whisper" not in str(line)


def test_the_public_address(
    provider: Provider,
    catalogue: Catalogue,
    objects: S3ObjectStore,
    recorder: CatalogueCapture,
) -> None:
    """Behind a proxy the provider leads back to the public address."""
    settings = ApiSettings("https://ear.example", oidc=oidc_settings(configure(provider.issuer)))
    app = build_app(catalogue, objects, recorder, CatalogueSpies(catalogue), settings)
    answered = app.test_client().get("/sign-in/oidc")
    query = parse_qs(urlsplit(answered.headers["Location"]).query)
    assert query["redirect_uri"] == [f"https://ear.example{CALLBACK}"]
    assert answered.headers["Set-Cookie"].startswith(f"__Host-{COOKIE}=")
    app.extensions[EXTENSION].feed.close()


def test_doctor(provider: Provider) -> None:
    """`doctor` reads the provider's metadata, and names the fault."""
    assert examine_oidc(Config()) == []
    (found,) = examine_oidc(configure(provider.issuer))
    assert (found.ok, found.text) == (True, f"{provider.issuer} answers, and signs by RS256")
    (found,) = examine_oidc(configure(f"{provider.issuer}/"))
    assert not found.ok
    assert f"its issuer is '{provider.issuer}'" in found.text
    provider.stop()
    (found,) = examine_oidc(configure(provider.issuer))
    assert not found.ok
    assert found.text.startswith(f"oidc.issuer: {provider.issuer} ")


# Limits


def test_coming_back_too_often(app: Flask) -> None:
    """The number of failed callbacks from one address is limited."""
    browser = Browser(app)
    answers = [browser.get(f"{CALLBACK}?state=a&code={n}") for n in range(31)]
    assert [one.status_code for one in answers] == [400] * 30 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert Browser(app).get(CALLBACK).status_code == 400


def test_starting_too_often(
    app: Flask, monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue
) -> None:
    """The number of sign-ins that one address starts is limited, because each is a row."""
    browser, before = Browser(app), count(catalogue, schema.sign_in)
    answers = [browser.get("/sign-in/oidc").status_code for _ in range(121)]
    assert answers == [303] * 120 + [429]
    assert count(catalogue, schema.sign_in) <= before + 120


def test_limits_are_shared(make_app: AppMaker, catalogue: Catalogue) -> None:
    """Failures count for all processes, and expire."""
    one, two = (make_app("", client_id="") for _ in range(2))
    name = f"person-{uuid4()}\0"  # PostgreSQL takes no NUL
    address = {"REMOTE_ADDR": str(uuid4())}

    def fail(app: Flask) -> int:
        form = {"name": name, "password": "wrong"}
        return app.test_client().post("/sign-in", data=form, environ_base=address).status_code

    assert [fail(app) for app in (one, two) * 5] == [401] * 10
    assert [fail(one), fail(two)] == [429, 429]
    past = datetime.now(UTC) - timedelta(seconds=1)
    with catalogue.begin() as tx:
        tx.execute(update(schema.hits).values(expires_at=past))
    assert fail(two) == 401
    # By name, by address, by both; and as often so that the trail has an end.
    assert count(catalogue, schema.hits) == 6


def test_failures_at_once(catalogue: Catalogue) -> None:
    """Each failure counts, however many processes count at the same time."""
    key, lasts = f"key-{uuid4()}", timedelta(minutes=1)

    def fail(_: int) -> int:
        with catalogue.begin() as tx:
            return hits.add_hits(tx, key, amount=1, lasts=lasts)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(fail, range(40))) == list(range(1, 41))


def test_limits_without_a_database(objects: S3ObjectStore, recorder: CatalogueCapture) -> None:
    """Without the database nobody signs in: 503 with a time to retry."""
    nowhere = Catalogue("postgresql://nobody@127.0.0.1:1/none")
    app = build_app(nowhere, objects, recorder, CatalogueSpies(nowhere), ApiSettings())
    answered = app.test_client().post("/sign-in", data={"name": "a", "password": PASSWORD})
    assert (answered.status_code, answered.headers["Retry-After"]) == (503, "5")
    assert answered.get_json()["error_id"] == "catalogue-unavailable"
    app.extensions[EXTENSION].feed.close()
