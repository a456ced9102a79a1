"""Everything that the matrix of rights needs: callers of every kind, and things of two teams.

The teams `east` and `west` have one agent each, 2001 and 2002, and one supervisor each, ann and
bob. Each kind of thing exists three times: for an agent of each team, and for no agent. Its texts
carry a mark, such as `of-east`, so an answer that shows it can be recognised.
"""

import copy
import hashlib
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from api_client import (
    NOW,
    CatalogueCapture,
    CatalogueSpies,
    build_call,
    build_recording,
    build_spy,
)
from flask import Flask
from sqlalchemy import Connection, text, update
from uuid_utils.compat import uuid7

from api.app import ApiSettings, build_app
from recorder.ari.pbxs import Pbxs
from recorder.audio.waveform import Waveform
from recorder.conferences.conferences import Conferences, ConferenceSettings
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.campaigns import Campaigns
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from recorder.programs.programs import Programs
from storage.catalogue import (
    agents,
    bulks,
    callbacks,
    calls,
    campaigns,
    conferences,
    do_not_call,
    links,
    pbxs,
    recordings,
    rules,
    searches,
    spies,
    tokens,
    trials,
    users,
    webhooks,
)
from storage.catalogue.engine import Catalogue
from storage.manifest import SigningKey, build_manifest, sign_manifest
from storage.objects.keys import ObjectKey
from storage.passwords import hash_password
from storage.permissions import PERMISSIONS
from storage.records import (
    Bookmark,
    CallbackRecord,
    CampaignEntry,
    CampaignRecord,
    ConferenceRecord,
    Hold,
    Hours,
    MemberRecord,
    PbxRecord,
    RuleRecord,
    TrialRecord,
)
from storage.schema import token
from tests.actors import ROOT
from tests.fake_pbx import FakePbx
from tests.legs import leg
from tests.memory_store import MemoryStore

TEAMS = ("east", "west", None)
AGENTS: Mapping[str | None, str | None] = {"east": "2001", "west": "2002", None: None}
SUPERVISORS: Mapping[str | None, str] = {"east": "ann", "west": "bob", None: "cid"}
ALWAYS = Hours(0, 24, (1, 2, 3, 4, 5, 6, 7))
PASSWORD = "correct horse battery"
NUMBER = "+12025550123"
AUDIO = b"OggS" + bytes(1000)
WAVEFORM = Waveform(
    0.1, ((1, 255), (0, 4)), (((0.0, 0.2),), ()), ((), ((0.0, 0.2),)), (-13.5, -120)
)


class _Undone(Exception):
    """Ends a trial."""


class UndoneCatalogue(Catalogue):
    """A catalogue in which the deeds of a `trying` block are undone at its end.

    Within the block its thread has one transaction, so each trial starts from the same rows. Other
    threads, such as that of the events, do not see them.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._of_thread = threading.local()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction, or a part of the shared one."""
        shared: Connection | None = getattr(self._of_thread, "shared", None)
        if shared is None:
            with super().begin() as tx:
                yield tx
            return
        with shared.begin_nested():
            yield shared

    @contextmanager
    def trying(self) -> Iterator[Connection]:
        """Undo at the end of the block everything that happened in it."""
        with suppress(_Undone), super().begin() as tx:
            self._of_thread.shared = tx
            try:
                yield tx
            finally:
                self._of_thread.shared = None
            raise _Undone


@dataclass(frozen=True)
class Caller:
    """A kind of caller. `role` names its column, `view` its row of the tables in the docs."""

    name: str
    role: str
    headers: Mapping[str, str]
    team: str | None = None
    scopes: frozenset[str] = frozenset()
    owns: str = ""  # its own things are those of this owner
    is_session: bool = False
    is_dialplan: bool = False

    @property
    def view(self) -> str:
        """The row of the table of things."""
        if self.role in ("supervisor", "service"):
            return f"{self.role} {'with' if self.team else 'without'} a team"
        return self.role


class World:
    """The callers and the things, in one application."""

    def __init__(self, catalogue: UndoneCatalogue) -> None:
        self.catalogue = catalogue
        self.objects = MemoryStore()
        self.pbx = FakePbx()
        self.pbx.endpoints |= {f"PJSIP/{number}" for number in ("2001", "2002", "2003")}
        self.app = self._build_app()
        self.ids: dict[str, dict[str | None, dict[str, str]]] = {}
        self.owned: dict[str, dict[str, str]] = {}
        self.common: dict[str, str] = {}
        with catalogue.begin() as tx:
            self._tx = tx
            self._tokens = {name: self._keep_token(**how) for name, how in _TOKENS.items()}
            self._sessions = {role: self._sign_in(role) for role in ("admin", "supervisor")}
            self._things()
        self.nothing = self.program_with(())
        self._fresh = [copy.deepcopy(vars(one)) for one in self._pbxs]

    @contextmanager
    def trying(self) -> Iterator[Connection]:
        """Undo at the end of the block what happened in the catalogue and on the PBX."""
        try:
            with self.catalogue.trying() as tx:
                yield tx
        finally:
            for one, fresh in zip(self._pbxs, self._fresh, strict=True):
                vars(one).update(copy.deepcopy(fresh))

    # Callers

    def callers(self) -> Iterator[Caller]:
        """Iterate over all callers with a token or a session."""
        for name, how in _TOKENS.items():
            scopes = frozenset(how.get("scopes", ()))
            owner, secret = self._tokens[name]
            role, team = how["role"], how.get("team")
            yield Caller(
                name,
                role,
                bearer(secret),
                team,
                scopes,
                str(owner),
                is_dialplan="pbx" in how,
            )
        for role, (owner, secret, csrf) in self._sessions.items():
            headers = {"Cookie": f"earwitness_session={secret}", "X-CSRF-Token": csrf}
            team = "east" if role == "supervisor" else None
            yield Caller(f"session of {role}", role, headers, team, owns=owner, is_session=True)

    def owner_of(self, caller: str) -> UUID:
        """Return the id of a caller with a token."""
        return self._tokens[caller][0]

    def program_with(self, scopes: Collection[str], *, pbx: str | None = None) -> Caller:
        """Return a program with exactly these permissions, or the dialplan of a PBX."""
        with self.catalogue.begin() as self._tx:
            _, secret = self._keep_token(role="service", scopes=sorted(scopes), pbx=pbx)
        missing = sorted(PERMISSIONS.keys() - {*scopes})
        name = f"program without {missing}" if len(missing) == 1 else f"program with {scopes}"
        return Caller(name, "service", bearer(secret), None, frozenset(scopes))

    def _keep_token(self, **how: Any) -> tuple[UUID, str]:
        id_ = uuid7()
        # So no request saves its time: the others must change nothing.
        used = datetime.now(UTC) + timedelta(days=1)
        row = {"id": id_, "name": f"caller-{id_}", "scopes": [], "last_used_at": used, **how}
        return id_, tokens.keep_secret(self._tx, tokens.PREFIX, **row)

    def _sign_in(self, role: str) -> tuple[str, str, str]:
        team = "east" if role == "supervisor" else None
        hashed = hash_password(PASSWORD)
        who = users.create_user(
            self._tx, name=f"person-{role}", role=role, team=team, password_hash=hashed
        )
        secret = users.begin_session(self._tx, who)
        self._tx.execute(update(token).where(token.c.user_id == who.id).values(csrf="csrf"))
        return str(who.id), secret, "csrf"

    # Things

    def _things(self) -> None:
        for team in TEAMS:
            for make in (self._call, self._recording, self._spy, self._conference, self._campaign):
                make(team)
            if team is not None:
                self._callback(team)
            number = AGENTS[team] or "2003"
            agents.add_agent(self._tx, number, display_name=f"of-{team}", team=team)
            self._keep("agent", team, number=number)
        for name, (owner, _) in self._tokens.items():
            self._owned(str(owner), owner, name)
        for owner, _, _ in self._sessions.values():
            self._owned(owner, UUID(owner), "person")
        self._owned("somebody", uuid7(), "somebody")
        self._common()

    def _call(self, team: str | None) -> None:
        place = TEAMS.index(team) + 1
        agent, mark = AGENTS[team], f"of-{team}"
        legs = [leg(f"c{place}", party="customer", name=f"PJSIP/trunk-{place}")]
        if agent is not None:
            legs.append(leg(f"a{place}", name=f"PJSIP/{agent}-1"))
        self.pbx.channels |= {one.id for one in legs}
        made = build_call(
            id=f"main-{place}.0", agent=agent, caller_name=mark, channels=tuple(legs), did=mark
        )
        calls.save_calls(self._tx, [made])
        self._keep("call", team, call_id=made.id, channel=legs[0].name)

    def _recording(self, team: str | None) -> None:
        mark = f"of-{team}"
        call_id = f"{self.ids['call'][team]['call_id']}-before"  # a spy captures those of its call
        bookmark = Bookmark(uuid7(), 1.0, mark, "root")
        usual = build_recording(
            call_id=call_id, agent=AGENTS[team], caller_name=mark, bookmarks=(bookmark,)
        )
        recordings.create_recording(self._tx, usual)
        known = {"recording_id": str(usual.id), "bookmark_id": str(bookmark.id)}
        self._keep("recording", team, **known)
        held = replace(usual, id=uuid7(), hold=Hold("a case", "root", NOW))
        recordings.create_recording(self._tx, held)
        self._keep("held recording", team, **known | {"recording_id": str(held.id)})
        kept = replace(usual, id=uuid7(), state="stored", duration_s=9.0, bookmarks=())
        key = ObjectKey.of("main", NOW, kept.id, "opus")
        body = build_manifest({"id": kept.id, "mark": mark}, [], WAVEFORM.to_json())
        document = sign_manifest(body, SigningKey.generate())
        self.objects.put_bytes(str(key), AUDIO, content_type="audio/ogg")
        self.objects.put_bytes(str(key.manifest), document, content_type="application/json")
        sums = {"size_bytes": len(AUDIO), "sha256": hashlib.sha256(AUDIO).hexdigest()}
        kept = replace(kept, object_key=str(key), content_type="audio/ogg", **sums)
        recordings.create_recording(self._tx, kept)
        link, secret = links.create_link(
            self._tx,
            kept.id,
            by="root",
            owner_id=self._tokens["admin"][0],
            expires_in=timedelta(days=1),
        )
        self._keep("stored recording", team, recording_id=str(kept.id), link_id=str(link.id))
        self.common["secret"] = secret

    def _spy(self, team: str | None) -> None:
        supervisor = SUPERVISORS[team]
        made = build_spy(
            call_id=self.ids["call"][team]["call_id"],
            supervisor=self._name_of(supervisor),
            owner_id=self._tokens[supervisor][0],
            destination=f"PJSIP/of-{team}",
            mode="whisper",
        )
        spies.create_spy(self._tx, made)
        self._keep("spy", team, spy_id=str(made.id))
        self._keep("own spy", team, spy_id=str(made.id))

    def _conference(self, team: str | None) -> None:
        supervisor, agent = SUPERVISORS[team], AGENTS[team]
        made = ConferenceRecord(
            id=uuid7(),
            pbx="main",
            name=f"of-{team}",
            state="open",
            created_by=self._name_of(supervisor),
            started_at=NOW,
            owner_id=self._tokens[supervisor][0],
        )
        conferences.create_conference(self._tx, made)
        member = MemberRecord(
            id=uuid7(),
            conference_id=made.id,
            state="in",
            role="member",
            requested_at=NOW,
            channel_id=f"m-{team}",
            call_id=self.ids["call"][team]["call_id"],
            destination=f"PJSIP/{agent}" if agent else None,
            joined_at=NOW,
        )
        conferences.create_member(self._tx, member)
        self.pbx.channels.add(f"m-{team}")
        known = {"conference_id": str(made.id), "member_id": str(member.id)}
        self._keep("conference", team, **known)

    def _campaign(self, team: str | None) -> None:
        supervisor, agent = SUPERVISORS[team], AGENTS[team]
        phones = {agent: f"PJSIP/{agent}"} if agent is not None else {}
        usual = CampaignRecord(
            id=uuid7(),
            name=f"of-{team}",
            pbx="main",
            mode="preview",
            state="draft",
            hours=ALWAYS,
            retry_after_s=(900,),
            created_at=NOW,
            created_by=self._name_of(supervisor),
            agents=tuple(phones),
            queue=None if phones else "support",
            owner_id=self._tokens[supervisor][0],
        )
        running = replace(usual, id=uuid7(), state="running")
        paused = replace(usual, id=uuid7(), state="paused")
        for made in (usual, running, paused):
            campaigns.create_campaign(self._tx, made, phones)
            line = CampaignEntry(
                id=uuid7(),
                campaign_id=made.id,
                place=2,
                given=NUMBER,
                state="waiting",
                number=NUMBER,
                name=f"of-{team}",
                zones=("America/New_York",),
                next_at=NOW,
            )
            campaigns.add_entries(self._tx, [line])
        self._keep("campaign", team, campaign_id=str(usual.id))
        self._keep("running campaign", team, campaign_id=str(running.id))
        self._keep("paused campaign", team, campaign_id=str(paused.id))
        if agent is not None:
            self._keep("phone", team, campaign_id=str(running.id), agent=agent)

    def _callback(self, team: str) -> None:
        agent = AGENTS[team] or ""
        made = CallbackRecord(
            id=uuid7(),
            pbx="main",
            phone=f"PJSIP/{agent}",
            agent=agent,
            number=NUMBER,
            state="waiting",
            at=NOW,
            hours=ALWAYS,
            retry_after_s=(900,),
            created_at=NOW,
            created_by="root",
            name=f"of-{team}",
            next_at=NOW,
            due_at=NOW,
        )
        callbacks.create_callback(self._tx, made)
        self._keep("call-back", team, callback_id=str(made.id))

    def _owned(self, owner: str, owner_id: UUID, name: str) -> None:
        made = bulks.create_bulk(
            self._tx, action="export", arguments={}, recordings=[], by=name, owner_id=owner_id
        )
        self.objects.put_bytes(f"exports/{made.id}.zip", b"PK", content_type="application/zip")
        bulks.set_bulk(
            self._tx, made.id, state="done", object_key=f"exports/{made.id}.zip", size_bytes=2
        )
        search = searches.save_search(self._tx, owner_id=owner_id, name="mine", query={"q": "x"})
        trial = TrialRecord(
            id=uuid7(),
            drafts=(),
            default_action="never",
            from_at=NOW,
            to_at=NOW,
            state="done",
            created_by=name,
            created_at=NOW,
            owner_id=owner_id,
            agents=(),
        )
        trials.keep_trial(self._tx, trial, [])
        owned = {"bulk_id": str(made.id), "search_id": str(search.id), "trial_id": str(trial.id)}
        self.owned[owner] = owned

    def _common(self) -> None:
        soon = datetime.now(UTC) + timedelta(hours=1)  # watched for as long as the tests take
        pbxs.save_pbx(self._tx, PbxRecord("main", "connected", "", "22.1", soon))
        rule = RuleRecord(
            id="", version=1, name="all", when="", action="record", priority=1, origin="api"
        )
        kept = rules.create_rule(self._tx, rule, by=ROOT)
        hook, _ = webhooks.create_webhook(
            self._tx,
            url="http://127.0.0.1:1/hook",
            types=[],
            by="root",
            owner_id=self._tokens["admin"][0],
        )
        other, _ = self._keep_token(role="service", scopes=["calls.read"])
        person = users.create_user(
            self._tx, name="person-2", role="supervisor", team=None, password_hash="x"
        )
        do_not_call.add(self._tx, "+12025550199", "asked for it", by="root")
        failed = text(
            "UPDATE procrastinate_jobs SET status = 'failed' WHERE id = ("
            " SELECT max(id) FROM procrastinate_jobs WHERE task_name = 'bulk') RETURNING id"
        )
        job_id = self._tx.scalar(failed)
        self.common |= {
            "rule_id": kept.id,
            "webhook_id": str(hook.id),
            "token_id": str(other),
            "user_id": str(person.id),
            "job_id": str(job_id),
            "number": "+12025550199",
            "asset": "start.js",
            "name": "htmx.js",
        }

    def _keep(self, kind: str, team: str | None, **known: str) -> None:
        self.ids.setdefault(kind, {})[team] = known

    def _name_of(self, caller: str) -> str:
        return str(_TOKENS[caller]["name"])

    def _build_app(self) -> Flask:
        fake: Any = self.pbx
        known, how = Pbxs({"main": fake}), DialSettings("outbound", trunks=("PJSIP/trunk*",))
        dialler = Dialler(self.catalogue, known, {"main": how}, DialPolicy())
        promised = CallbackSettings(ALWAYS, (60,), {"main": "US"})
        held = Conferences(self.catalogue, known, {"main": ConferenceSettings(how)})
        back = Callbacks(self.catalogue, dialler, promised)
        supervising = CatalogueSpies(self.catalogue)
        self._pbxs = (self.pbx, supervising.pbx)
        return build_app(
            self.catalogue,
            self.objects,
            CatalogueCapture(self.catalogue),
            supervising,
            ApiSettings(pbxs=("main",), allow_private_addresses=True),
            dialler=dialler,
            callbacks=back,
            campaigns=Campaigns(self.catalogue, known, dialler, {"main": "US"}, hours=ALWAYS),
            conferences=held,
            programs=Programs(self.catalogue, dialler, back, held, ("main",)),
        )


# Every caller with a token: the arguments of the token.
_TOKENS: Mapping[str, Mapping[str, Any]] = {
    "admin": {"role": "admin", "name": "root"},
    "compliance": {"role": "compliance", "name": "olga"},
    "ann": {"role": "supervisor", "name": "ann", "team": "east"},
    "bob": {"role": "supervisor", "name": "bob", "team": "west"},
    "cid": {"role": "supervisor", "name": "cid"},
    "agent 2001": {"role": "agent", "name": "2001", "team": "east"},
    "agent 2002": {"role": "agent", "name": "2002", "team": "west"},
    "dialplan of main": {
        "role": "service",
        "name": "dialplan main",
        "pbx": "main",
        "scopes": ["calls.read", "calls.dial", "recordings.control", "conferences.control"],
    },
    "program of all": {"role": "service", "name": "all", "scopes": sorted(PERMISSIONS)},
    "program of east": {
        "role": "service",
        "name": "all-east",
        "team": "east",
        "scopes": sorted(PERMISSIONS),
    },
}


def bearer(secret: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {secret}"}


@contextmanager
def open_world(database_url: str) -> Iterator[World]:
    """Build a world on this database."""
    with closing(UndoneCatalogue(database_url)) as catalogue:
        catalogue.migrate()
        yield World(catalogue)
