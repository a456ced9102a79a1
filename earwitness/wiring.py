"""The wiring of every role, on one page.

Each part is imported at its first use: the watcher needs no S3, the API no codecs.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness import private
from earwitness.config import Config
from recorder.errors import RuleInvalid
from storage.errors import ConfigurationInvalid
from storage.records import RuleRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.settings import OidcSettings
    from recorder.ari.pbxs import Pbxs
    from recorder.conferences.conferences import Conferences
    from recorder.dialling.callbacks import Callbacks
    from recorder.dialling.campaigns import Campaigns
    from recorder.dialling.dialler import Dialler, DialSettings
    from recorder.dialling.numbers import DialPolicy
    from recorder.programs.programs import Programs
    from recorder.recording.capture import Capture
    from recorder.recording.demand import KeyFunction
    from recorder.recording.gate import Gate
    from recorder.rules.book import RuleBook
    from recorder.spy.spies import Spies
    from recorder.watch.watch import Watch
    from recorder.work.bulk import Bulks
    from recorder.work.deliveries import Deliverer
    from recorder.work.finish import Finisher
    from recorder.work.trials import Trials
    from storage.catalogue.engine import Catalogue
    from storage.objects.s3 import S3ObjectStore


@dataclass(frozen=True)
class Wiring:
    """The parts of a process, each built at its first use."""

    config: Config

    def load(self) -> None:
        """Import the modules of `api`, so that its forks share them; connect to nothing.

        Raises ConfigurationInvalid.
        """
        check_rules(self.config.rules)
        _ = self.catalogue, self.objects, self.capture, self.spies
        _ = self.dialler, self.callbacks, self.campaigns, self.conferences, self.programs

    @cached_property
    def catalogue(self) -> "Catalogue":
        """The catalogue in PostgreSQL."""
        from storage.catalogue.engine import Catalogue

        return Catalogue(self.database_url)

    @property
    def database_url(self) -> str:
        """The address of PostgreSQL; without one in the configuration, `serve` must be running."""
        from earwitness.embedded import postgres_of

        url = self.config.database.url.get_secret_value()
        server = postgres_of(self.config)
        if not url and not server.is_claimed:
            raise ConfigurationInvalid(
                "database.url: this command needs a PostgreSQL; only `serve` brings its own"
            )
        return url or server.url

    @cached_property
    def objects(self) -> "S3ObjectStore":
        """The object store; without one in the configuration, `serve` must be running."""
        from earwitness.embedded import object_store_settings, objects_of
        from storage.objects.s3 import S3ObjectStore

        if self.config.objects.kind == "s3":
            return S3ObjectStore(object_store_settings(self.config.objects))
        server = objects_of(self.config)
        if not server.is_claimed:
            raise ConfigurationInvalid(
                'objects.kind: this command needs "s3"; only `serve` brings a store of its own'
            )
        return server.open_store()

    @cached_property
    def pbxs(self) -> "Pbxs":
        """A client for each PBX."""
        from recorder.ari import Ari
        from recorder.ari.pbxs import Pbxs

        return Pbxs(
            {
                pbx.name: Ari(
                    pbx.url, pbx.username, pbx.password.get_secret_value(), pbx.application
                )
                for pbx in self.config.pbx
            }
        )

    @cached_property
    def capture(self) -> "Capture":
        """The recordings at the PBXs."""
        from recorder.recording.capture import Capture, Defaults

        wanted = self.config.recording
        return Capture(
            self.catalogue,
            self.pbxs,
            Defaults(wanted.layout, wanted.format, wanted.pause),
            self.gate,
            on_pause=self.spies.follow_pauses,
        )

    @cached_property
    def spies(self) -> "Spies":
        """The spies at the PBXs."""
        from recorder.spy.spies import Spies

        trunks = {pbx.name: pbx.trunks for pbx in self.config.pbx}
        deaf = self.config.recording.pause_listeners == "deaf"
        return Spies(
            self.catalogue,
            self.pbxs,
            trunks,
            deaf_in_pauses=deaf,
            after_transfer=self.config.spies.after_transfer,
            gate=self.gate,
        )

    @cached_property
    def dialler(self) -> "Dialler":
        """The calls that we dial at the PBXs."""
        from recorder.dialling.dialler import Dialler

        return Dialler(self.catalogue, self.pbxs, self._dial_settings, self._dial_policy)

    @cached_property
    def _dial_settings(self) -> "dict[str, DialSettings]":
        from recorder.dialling.dialler import DialSettings

        ring_s = self.config.dialling.ring_s
        return {
            pbx.name: DialSettings(
                pbx.dial_context, pbx.dial_format, pbx.region, pbx.trunks, ring_s
            )
            for pbx in self.config.pbx
        }

    @cached_property
    def _dial_policy(self) -> "DialPolicy":
        from recorder.dialling.numbers import DialPolicy

        wanted = self.config.dialling
        return DialPolicy(wanted.allowed, wanted.refused, wanted.premium)

    @property
    def _regions(self) -> dict[str, str]:
        return {pbx.name: pbx.region for pbx in self.config.pbx}

    @cached_property
    def programs(self) -> "Programs":
        """The commands of programs on the PBXs."""
        from recorder.programs.programs import Programs

        may_dial = {pbx.name for pbx in self.config.pbx if pbx.programs_may_dial}
        return Programs(self.catalogue, self.dialler, self.callbacks, self.conferences, may_dial)

    @cached_property
    def callbacks(self) -> "Callbacks":
        """The call-backs at the PBXs."""
        from recorder.dialling.callbacks import Callbacks, CallbackSettings

        wanted = self.config.dialling
        settings = CallbackSettings(wanted.hours, wanted.retry_after_s, self._regions)
        return Callbacks(self.catalogue, self.dialler, settings)

    @cached_property
    def campaigns(self) -> "Campaigns":
        """The campaigns, which dial by the dialler."""
        from recorder.dialling.campaigns import Campaigns

        wanted = self.config.dialling
        return Campaigns(
            self.catalogue,
            self.pbxs,
            self.dialler,
            self._regions,
            hours=wanted.hours,
            retry_after_s=wanted.retry_after_s,
        )

    @cached_property
    def conferences(self) -> "Conferences":
        """The conferences at the PBXs."""
        from recorder.conferences.conferences import Conferences, ConferenceSettings

        dialling = self._dial_settings
        settings = {
            pbx.name: ConferenceSettings(dialling[pbx.name], pbx.conference_context)
            for pbx in self.config.pbx
        }
        return Conferences(self.catalogue, self.pbxs, settings, self._dial_policy, self.capture)

    @cached_property
    def gate(self) -> "Gate":
        """The gate before every capture, which evaluates the rules anew where they are due."""
        from recorder.recording.gate import Gate

        return Gate(self.catalogue, self.pbxs, self.book)

    @cached_property
    def book(self) -> "RuleBook":
        """The rules in force. Raises ConfigurationInvalid for an invalid rule of the file."""
        from recorder.rules.book import RuleBook

        check_rules(self.config.rules)
        return RuleBook(self.catalogue, self.config.rules, self.config.default_action)

    @cached_property
    def watches(self) -> "tuple[Watch, ...]":
        """A watcher for each PBX."""
        from recorder.watch.seen_agents import AgentPattern
        from recorder.watch.watch import Watch, WatchSettings

        agents = tuple(AgentPattern(one.endpoints, one.team or None) for one in self.config.agents)
        wanted = self.config.recording
        keys: dict[str, KeyFunction] = {wanted.dtmf.toggle: "toggle", wanted.dtmf.pause: "pause"}
        return tuple(
            Watch(
                pbx.name,
                self.pbxs[pbx.name],
                self.catalogue,
                self.capture,
                self.spies,
                self.book,
                self.dialler,
                self.programs,
                self.conferences,
                self.pbxs,
                WatchSettings(
                    pbx.trunks,
                    wanted.resume_after_s,
                    {pressed: wish for pressed, wish in keys.items() if pressed},
                    pbx.user_events_to,
                    user_events_to_ami=pbx.user_events_to_ami,
                    agents=agents,
                ),
            )
            for pbx in self.config.pbx
        )

    @cached_property
    def finisher(self) -> "Finisher":
        """The finisher of recordings, for workers."""
        from recorder.work.finish import Finisher

        return Finisher(self.catalogue, self.objects, self.pbxs, self.capture, self.spool)

    @cached_property
    def bulks(self) -> "Bulks":
        """The actions on many recordings, for workers."""
        from recorder.work.bulk import Bulks

        return Bulks(self.catalogue, self.objects, self.spool / "exports")

    @cached_property
    def trials(self) -> "Trials":
        """The trials of draft rules, for workers."""
        from recorder.work.trials import Trials

        return Trials(self.catalogue)

    @cached_property
    def deliverer(self) -> "Deliverer":
        """The deliveries to webhooks, for workers."""
        from recorder.work.deliveries import Deliverer
        from recorder.work.webhooks import Sender

        allowed = self.config.webhooks.allow_private_addresses
        return Deliverer(self.catalogue, lambda: Sender(allow_private_addresses=allowed))

    @property
    def spool(self) -> Path:
        """The directory of files that are being encoded."""
        return self.config.data.directory / private.SPOOL


def oidc_settings(config: Config) -> "OidcSettings | None":
    """Return the settings of the identity provider, or None."""
    from api.settings import OidcSettings

    wanted = config.oidc
    if not wanted.issuer:
        return None
    given = {role: frozenset(words) for role, words in wanted.roles if words}
    return OidcSettings(
        issuer=wanted.issuer,
        client_id=wanted.client_id,
        client_secret=wanted.client_secret.get_secret_value(),
        name=wanted.name,
        scopes=wanted.scopes,
        username_claim=wanted.username_claim,
        role_claim=wanted.role_claim,
        team_claim=wanted.team_claim,
        roles=given or {role: frozenset({role}) for role, _ in wanted.roles},
    )


@contextmanager
def open_catalogue(config: Config) -> "Iterator[Connection]":
    """Open a transaction in the migrated catalogue, whether or not the service runs."""
    from earwitness.embedded import embedded_database
    from storage.catalogue.engine import Catalogue

    with embedded_database(config) as url, closing(Catalogue(url)) as catalogue:
        catalogue.migrate()
        with catalogue.begin() as tx:
            yield tx


def check_rules(rules: Sequence[RuleRecord]) -> None:
    """Raise ConfigurationInvalid for an invalid rule of a file, with its position."""
    if not rules:
        return
    from recorder.rules import compile_rule

    for number, rule in enumerate(rules):
        try:
            compile_rule(rule)
        except RuleInvalid as error:
            place = f" at character {error.position}" if error.position is not None else ""
            hint = f" ({error.hint})" if error.hint else ""
            fault = f"rule.{number}.{error.field} ({rule.name!r}): {error}{place}{hint}"
            raise ConfigurationInvalid(fault) from error
