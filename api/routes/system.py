"""Tokens, users, and the audit trail."""

from uuid import UUID

from flask import Response

from api.auth import audit_done, holding_rights, principal, require_grant
from api.fields.base import ListQuery, Nothing, list_fields
from api.fields.system import (
    AuditList,
    AuditQuery,
    NewToken,
    NewUser,
    Token,
    TokenList,
    User,
    UserList,
    audit_fields,
    token_fields,
    user_fields,
)
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.withdrawal import withdraw
from storage.catalogue import audit, tokens, users
from storage.catalogue.agents import find_teams
from storage.errors import (
    BadCursor,
    LastAdmin,
    NameInvalid,
    NoSuchToken,
    NoSuchUser,
    TokenInvalid,
    UserInvalid,
)
from storage.passwords import hash_password
from storage.permissions import AUDIT_READ, SYSTEM_READ, SYSTEM_WRITE
from storage.records import TokenRecord

operations = Operations("/api/v1", tag="system")


@operations.get("/tokens", SYSTEM_READ, json(TokenList), query=ListQuery, errors=(BadCursor,))
def list_tokens(query: ListQuery) -> Response:
    """List the bearer tokens, without the sessions of people."""
    with services().catalogue.begin() as tx:
        page = tokens.list_tokens(tx, **query.model_dump())
    return answer(list_fields(page, token_fields))


@operations.post(
    "/tokens",
    SYSTEM_WRITE,
    {201: Reply("The new token; only this answer has its `token`.", Token)},
    body=NewToken,
    errors=(NameInvalid, TokenInvalid),
    shown_once="token",
)
def create_token(body: NewToken) -> Response:
    """Create a bearer token; one with a `pbx` is for the dialplan of this PBX alone."""
    if body.pbx is not None and body.pbx not in services().settings.pbxs:
        raise TokenInvalid(f"pbx: expected one of {', '.join(services().settings.pbxs)}")
    wanted = body.wanted()
    with holding_rights() as (tx, rights):
        require_grant(TokenRecord(UUID(int=0), **wanted), who=rights)
        teams = find_teams(tx, [wanted["name"]])
        made, secret = tokens.create_token(tx, **wanted)
        of_dialplan = {"pbx": made.pbx} if made.pbx is not None else {}
        audit_done(tx, "token.create", made.id, name=made.name, role=made.role, **of_dialplan)
        withdrawn = withdraw(tx, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return answer(token_fields(made, secret), 201)


@operations.delete(
    "/tokens/<uuid:token_id>",
    SYSTEM_WRITE,
    {204: Reply("The token is revoked, and its spies have ended.")},
    errors=(NoSuchToken,),
)
def revoke_token(token_id: UUID) -> Response:
    """Revoke a bearer token."""
    with services().catalogue.begin() as tx:
        before = tokens.find_owner(tx, token_id)
        teams = find_teams(tx, [before.name] if before is not None else [])
        name = tokens.revoke_token(tx, token_id)
        audit_done(tx, "token.revoke", token_id, name=name)
        withdrawn = withdraw(tx, token_id, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return Response(status=204)


@operations.get("/users", SYSTEM_READ, json(UserList), query=ListQuery, errors=(BadCursor,))
def list_users(query: ListQuery) -> Response:
    """List the people who can sign in."""
    with services().catalogue.begin() as tx:
        page = users.list_users(tx, **query.model_dump())
    return answer(list_fields(page, user_fields))


@operations.post(
    "/users",
    SYSTEM_WRITE,
    {201: Reply("The new user.", User)},
    body=NewUser,
    errors=(NameInvalid, UserInvalid),
)
def create_user(body: NewUser) -> Response:
    """Create a user, who signs in on the web page by a password."""
    wanted = body.model_dump(exclude={"password"})
    require_grant(TokenRecord(UUID(int=0), **wanted))
    hashed = hash_password(body.password)
    with holding_rights() as (tx, rights):
        require_grant(TokenRecord(UUID(int=0), **wanted), who=rights)
        teams = find_teams(tx, [body.name])
        made = users.create_user(tx, **wanted, password_hash=hashed)
        audit_done(tx, "user.create", made.id, **wanted)
        withdrawn = withdraw(tx, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return answer(user_fields(made), 201)


@operations.delete(
    "/users/<uuid:user_id>",
    SYSTEM_WRITE,
    {204: Reply("The user is deleted, and all its sessions and spies have ended.")},
    errors=(NoSuchUser, LastAdmin),
)
def delete_user(user_id: UUID) -> Response:
    """Delete a user."""
    with services().catalogue.begin() as tx:
        name = users.get_user(tx, user_id).name
        teams = find_teams(tx, [name])
        users.delete_user(tx, user_id)
        audit_done(tx, "user.delete", user_id, name=name)
        withdrawn = withdraw(tx, user_id, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return Response(status=204)


@operations.post(
    "/users/<uuid:user_id>/sign-out",
    SYSTEM_WRITE,
    {204: Reply("All sessions and spies of the user have ended.")},
    body=Nothing,
    errors=(NoSuchUser,),
)
def sign_user_out(user_id: UUID) -> Response:
    """End all sessions and all spies of a user."""
    with services().catalogue.begin() as tx:
        found = users.get_user(tx, user_id)
        users.end_sessions(tx, user_id)
        audit_done(tx, "user.sign-out", user_id, name=found.name)
        withdrawn = withdraw(tx, user_id, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return Response(status=204)


@operations.get("/audit", AUDIT_READ, json(AuditList), query=AuditQuery, errors=(BadCursor,))
def list_audit(query: AuditQuery) -> Response:
    """List the entries of the audit trail, newest first."""
    with services().catalogue.begin() as tx:
        page = audit.list_audit(tx, **query.model_dump())
    return answer(list_fields(page, audit_fields))
