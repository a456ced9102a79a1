"""What the API needs of the rest of Earwitness."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from storage.records import (
    Action,
    Follow,
    Format,
    Layout,
    Mode,
    RecordingRecord,
    RuleRecord,
    SpyRecord,
)


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The identity provider at which people sign in.

    `name` is what the page calls it; the claims are those that tell a person's name, role and team.
    `roles` are the values of the role's claim that give each of our roles, the mightiest first.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    username_claim: str
    role_claim: str
    team_claim: str
    roles: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API is told by the configuration.

    `public_url` is what links in answers begin with, "" for the address that was asked;
    `pbxs` are the names of the PBXs that have to be connected for the service to be ready.
    `media_url` is where browsers reach the media server, "" for `media_port` of our own host.
    `rules` are those of the configuration, `default_action` is for calls that none matches.
    `pbx_addresses` are the IP addresses of the PBXs: their dialplans need no token.
    `proxies` stand before us: the last of X-Forwarded-For are theirs, the one before the client's.
    `allow_private_addresses` is whether webhooks may lead to such.
    `oidc` is where people sign in, None for here alone; `passwords` says whether here, too.
    """

    public_url: str = ""
    pbxs: tuple[str, ...] = ()
    media_url: str = ""
    media_port: int = 8081
    rules: tuple[RuleRecord, ...] = ()
    default_action: Action = "never"
    pbx_addresses: frozenset[str] = frozenset()
    proxies: int = 0
    allow_private_addresses: bool = False
    oidc: OidcSettings | None = None
    passwords: bool = True


class Stream(Protocol):
    """An object's bytes on their way out of the store."""

    @property
    def size_bytes(self) -> int:
        """The size of the whole object."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a bounded number at a time."""


class Objects(Protocol):
    """The store of renditions and manifests.

    Raises NoSuchObject, StoreUnavailable, StoreRefused.
    """

    def find(self, key: str) -> object | None:
        """What the store says of an object; None where it holds none."""

    def get_bytes(self, key: str) -> bytes:
        """A whole small object."""

    def open(
        self, key: str, *, first: int = 0, last: int | None = None
    ) -> AbstractContextManager[Stream]:
        """An object from byte `first` to byte `last`, both included; None is its end."""

    def presign(
        self, key: str, *, expires_in_s: int, download_name: str | None, content_type: str
    ) -> str:
        """A URL that gives the object to whoever has it, for a while."""


class Recorder(Protocol):
    """What can be done with the recordings of a call while it lives.

    Raises NoSuchCall, NoSuchRecording, CallEnded, NothingToRecord, RecordingNotActive,
    PbxUnavailable.
    """

    def start(
        self,
        call_id: str,
        *,
        by: str,
        trigger: str = "manual",
        layout: Layout | None = None,
        format: Format | None = None,
        tags: Sequence[str] = (),
    ) -> RecordingRecord:
        """Promise to keep the call's audio from now on; None is what is configured."""

    def pause(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Stop listening for a while."""

    def resume(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Listen again."""

    def stop(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """End the recording and keep it."""

    def discard(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """End the recording and keep nothing of it."""


class Supervisor(Protocol):
    """What can be done with the spies on a call while it lives.

    Raises NoSuchCall, NoSuchSpy, CallEnded, SpyEnded, BadDestination, ModeNotPermitted,
    PbxUnavailable.
    """

    def start(
        self,
        call_id: str,
        *,
        mode: Mode,
        destination: str,
        follow: Follow,
        may: Sequence[Mode],
        by: str,
        audio_token: str | None = None,
    ) -> SpyRecord:
        """Ring the supervisor's phone, or wait for its page to come with `audio_token`.

        `may` are the modes that the supervisor may use, `by` is the supervisor.
        """

    def switch(self, spy_id: UUID, mode: Mode, *, by: str) -> SpyRecord:
        """Go on in another mode."""

    def end(self, spy_id: UUID, *, by: str) -> SpyRecord:
        """Hang up the supervisor; harmless to repeat."""

    def take_down(self, spy_ids: Iterable[UUID]) -> None:
        """Hang up the supervisors of spies that are written down as ended."""
