"""The fields of tokens, users, failed jobs and the audit trail."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from api.fields.base import (
    ActorName,
    Answer,
    Body,
    Instant,
    ListOf,
    ListQuery,
    Name,
    Text,
    fields_of,
)
from storage import records
from storage.catalogue.tokens import dialplan_fields
from storage.permissions import PERMISSIONS
from storage.records import (
    ActorKind,
    AuditRecord,
    Outcome,
    PersonRole,
    Role,
    TokenRecord,
    UserRecord,
)


def _known(permission: str) -> str:
    if permission not in PERMISSIONS:
        raise ValueError(f"expected one of {', '.join(sorted(PERMISSIONS))}")
    return permission


Permission = Annotated[str, AfterValidator(_known)]


class NewToken(Body):
    """A new token: its name and its rights; or the PBX whose dialplan it is for."""

    name: ActorName | None = Field(None, description="with `pbx` the default is `dialplan PBX`")
    role: Role | None = Field(None, description="without `pbx` it is needed")
    team: Name | None = None
    scopes: tuple[Permission, ...] = Field((), description="the rights of the role `service`")
    without: tuple[Permission, ...] = ()
    pbx: Text | None = Field(
        None, description="for the dialplan of this PBX, which opens `/dialplan/*` alone"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> "NewToken":
        if self.pbx is not None:
            if self.role is not None or self.team is not None or self.scopes or self.without:
                raise ValueError("with pbx give no role, team, scopes or without")
            return self
        if self.name is None or self.role is None:
            raise ValueError("without pbx, name and role are needed")
        if (self.role == "service") != bool(self.scopes):
            raise ValueError("only the role service has scopes, and it needs some")
        return self

    def wanted(self) -> dict[str, Any]:
        """Return the fields of the token."""
        if self.pbx is None:
            return self.model_dump()
        return dialplan_fields(self.pbx, self.name)


class Token(Answer):
    """A bearer token; the catalogue stores only its SHA-256."""

    id: UUID
    name: str
    role: Role
    team: str | None
    scopes: list[str]
    without: list[str]
    pbx: str | None = Field(description="the PBX whose dialplan has the token; else null")
    last_used_at: Instant | None = Field(
        description="the last request with it, a minute late at most; null: never"
    )
    token: str | None = Field(description="only in the answer to its creation; null afterwards")


class TokenList(ListOf[Token]):
    """One part of the list of tokens, by name."""


class NewUser(Body):
    """A new person for the web page."""

    name: ActorName
    role: PersonRole
    team: Name | None = None
    password: Text = Field(
        description="12 characters or more", json_schema_extra={"writeOnly": True}
    )


class User(Answer):
    """A person with the right to sign in."""

    id: UUID
    name: str
    role: PersonRole
    team: str | None
    without: list[str]
    issuer: str | None = Field(description="the identity provider; null for a password")
    last_signed_in_at: Instant | None = Field(description="null: never")


class ChangedUser(Body):
    """Fields of a user to change. A field that is missing, or null, stays; null ends the team."""

    name: ActorName | None = None
    role: PersonRole | None = None
    team: Name | None = None
    without: tuple[Permission, ...] | None = None
    password: Text | None = Field(
        None, description="12 characters or more", json_schema_extra={"writeOnly": True}
    )

    @property
    def changes(self) -> dict[str, Any]:
        """The changes of the user's row, without the password."""
        given = self.model_dump(exclude_unset=True, exclude={"password"})
        return {name: value for name, value in given.items() if name == "team" or value is not None}


class Me(Answer):
    """The person or the token that makes the request, with its rights."""

    id: UUID
    name: str
    kind: Literal["user", "token"]
    role: Role
    team: str | None
    permissions: list[str]
    issuer: str | None = Field(description="the identity provider of a person, if there is one")
    last_signed_in_at: Instant | None = Field(description="the last sign-in of a person")


class NewPassword(Body):
    """Another password for yourself, with the present one."""

    old: Text = Field(json_schema_extra={"writeOnly": True})
    new: Text = Field(description="12 characters or more", json_schema_extra={"writeOnly": True})


class UserList(ListOf[User]):
    """One part of the list of users, by name."""


class FailedJob(Answer):
    """A job that failed for good."""

    id: int
    task: str = Field(examples=["finish", "clear", "manifest", "bulk"])
    subject: UUID = Field(description="the id of its recording or bulk")
    attempts: int
    failed_at: Instant
    reason: str | None = Field(description="the code of the failure, if stored; see the log")


class FailedJobList(ListOf[FailedJob]):
    """One part of the list of failed jobs, newest first."""


class AuditQuery(ListQuery):
    """The parameters that select entries of the audit trail."""

    actor_kind: ActorKind | None = None
    actor: Text | None = None
    action: Text | None = None
    subject: Text | None = Field(None, description="such as the id of a recording")
    outcome: Outcome | None = None


class Audited(Answer):
    """An entry of the audit trail: an action that was done or refused."""

    id: UUID
    at: Instant
    actor_kind: ActorKind = Field(
        description="`user`: a person; `token`; `rule`; `dialplan`: the dialplan, a phone or a"
        " program of a PBX; `link`: a shared link; `system`: Earwitness itself"
    )
    actor: str = Field(description="its name, unique within its kind", examples=["ann", "watch"])
    action: str
    subject: str
    outcome: Outcome
    detail: dict[str, Any]


class AuditList(ListOf[Audited]):
    """One part of the audit trail, newest first."""


def token_fields(record: TokenRecord, secret: str | None = None) -> dict[str, Any]:
    """Return the fields of a token; `secret` is known only when the token is created."""
    return fields_of(Token, record, token=secret)


def user_fields(record: UserRecord) -> dict[str, Any]:
    """Return the fields of a user."""
    return fields_of(User, record)


def job_fields(record: records.FailedJob) -> dict[str, Any]:
    """Return the fields of a failed job."""
    return fields_of(FailedJob, record)


def audit_fields(record: AuditRecord) -> dict[str, Any]:
    """Return the fields of an entry of the audit trail."""
    return fields_of(Audited, record)
