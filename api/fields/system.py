"""What is asked and answered about tokens, users and the audit trail."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from api.fields.base import Answer, Body, Instant, ListOf, ListQuery, Name, Text, fields_of
from api.permissions import PERMISSIONS
from storage import records
from storage.records import AuditRecord, Outcome, PersonRole, Role, TokenRecord, UserRecord


def _known(permission: str) -> str:
    if permission not in PERMISSIONS:
        raise ValueError(f"expected one of {', '.join(sorted(PERMISSIONS))}")
    return permission


Permission = Annotated[str, AfterValidator(_known)]


class NewToken(Body):
    """Whom the token stands for, and what it may."""

    name: Name
    role: Role
    team: Name | None = None
    scopes: tuple[Permission, ...] = Field((), description="of the role `service`")
    without: tuple[Permission, ...] = ()

    @model_validator(mode="after")
    def _has_scopes(self) -> "NewToken":
        if (self.role == "service") != bool(self.scopes):
            raise ValueError("the role service has scopes, and no other has")
        return self


class Token(Answer):
    """A bearer token; only its SHA-256 is kept."""

    id: UUID
    name: str
    role: Role
    team: str | None
    scopes: list[str]
    without: list[str]
    token: str | None = Field(description="told once, when it is made; null afterwards")


class TokenList(ListOf[Token]):
    """A page of the tokens, by name."""


class NewUser(Body):
    """Who signs in on the web page."""

    name: Name
    role: PersonRole
    team: Name | None = None
    password: Text = Field(
        description="12 characters or more", json_schema_extra={"writeOnly": True}
    )


class User(Answer):
    """A person who signs in."""

    id: UUID
    name: str
    role: PersonRole
    team: str | None
    without: list[str]
    issuer: str | None = Field(description="the identity provider; null: signs in by a password")


class UserList(ListOf[User]):
    """A page of those who can sign in, by name."""


class FailedJob(Answer):
    """A job that was given up."""

    id: int
    task: str = Field(examples=["finish", "clear", "manifest", "bulk"])
    subject: UUID = Field(description="the recording or bulk that it is about")
    attempts: int
    failed_at: Instant
    reason: str | None = Field(description="why, where it is kept; the log has the rest")


class FailedJobList(ListOf[FailedJob]):
    """A page of the jobs that were given up, newest first."""


class AuditQuery(ListQuery):
    """Which part of the trail."""

    actor: Text | None = None
    action: Text | None = None
    subject: Text | None = Field(None, description="such as the id of a recording")
    outcome: Outcome | None = None


class Audited(Answer):
    """Who did what to what, or was refused it."""

    id: UUID
    at: Instant
    actor: str
    action: str
    subject: str
    outcome: Outcome
    detail: dict[str, Any]


class AuditList(ListOf[Audited]):
    """A part of the audit trail, newest first."""


def token_fields(record: TokenRecord, secret: str | None = None) -> dict[str, Any]:
    """A token as it is answered."""
    return fields_of(Token, record, token=secret)


def user_fields(record: UserRecord) -> dict[str, Any]:
    """A person as it is answered."""
    return fields_of(User, record)


def job_fields(record: records.FailedJob) -> dict[str, Any]:
    """A job that was given up as it is answered."""
    return fields_of(FailedJob, record)


def audit_fields(record: AuditRecord) -> dict[str, Any]:
    """An entry of the trail as it is answered."""
    return fields_of(Audited, record)
