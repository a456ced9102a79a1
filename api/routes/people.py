"""People: changing users, oneself, and one's own password."""

from dataclasses import replace
from uuid import UUID

from flask import Response

from api.auth import audit_done, auditing_refusals, principal, refuse, require_grant
from api.errors import TooManyAttempts, WrongPassword
from api.fields.system import ChangedUser, Me, NewPassword, User, user_fields
from api.limits import Limits
from api.operation import SIGNED_IN, Operations, Reply, answer, json
from api.services import services
from recorder.withdrawal import withdraw
from storage.catalogue import agents, users
from storage.catalogue.rights import find_rights
from storage.errors import LastAdmin, NoSuchUser, UserInvalid, UserOfProvider
from storage.passwords import hash_password, is_password
from storage.permissions import SYSTEM_WRITE
from storage.records import TokenRecord, UserRecord

operations = Operations("/api/v1", tag="system")

# For each person, in all sessions together.
WRONG_PASSWORDS = "10 per 15 minutes"


@operations.patch(
    "/users/<uuid:user_id>",
    SYSTEM_WRITE,
    json(User, "The user, changed."),
    body=ChangedUser,
    errors=(NoSuchUser, UserInvalid, UserOfProvider, LastAdmin),
)
def change_user(user_id: UUID, body: ChangedUser) -> Response:
    """Change the name, role, team, missing permissions or password of a user.

    You need all rights that the user has before and after the change. What the user may not do any
    more ends at once; another password ends all sessions.
    """
    changes = body.changes
    hashed = hash_password(body.password) if body.password is not None else None
    with (
        auditing_refusals("user.change", user_id, of=(UserInvalid, UserOfProvider, LastAdmin)),
        services().catalogue.begin() as tx,
    ):
        before = users.lock_user(tx, user_id)
        # After the user, in this order: two people who change each other take turns.
        rights = find_rights(tx, principal().token.id, lock=True)
        if rights is None or not rights.may(SYSTEM_WRITE):
            refuse(SYSTEM_WRITE)
        require_grant(_as_token(before), who=rights)
        require_grant(_as_token(replace(before, **changes)), who=rights)
        teams = agents.find_teams(tx, {before.name, changes.get("name", before.name)})
        after = users.change_user(
            tx, user_id, changes | ({"password_hash": hashed} if hashed is not None else {})
        )
        ended = users.end_sessions(tx, user_id) if hashed is not None else ()
        told = [one for one in ("name", "role", "team", "without") if one in changes]
        audit_done(
            tx,
            "user.change",
            user_id,
            name=before.name,
            before={one: getattr(before, one) for one in told},
            after={one: getattr(after, one) for one in told},
            password=hashed is not None,
        )
        withdrawn = withdraw(tx, user_id, *ended, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return answer(user_fields(after))


@operations.get("/me", SIGNED_IN, json(Me))
def get_me() -> Response:
    """Get the caller, a signed-in person or a token, and its present rights."""
    who = principal()
    found = _find_self()
    return answer(
        {
            "id": who.id,
            "name": who.name,
            "kind": "user" if who.is_person else "token",
            "role": who.token.role,
            "team": who.token.team,
            "permissions": sorted(who.permissions),
            "issuer": found.issuer if found is not None else None,
            "last_signed_in_at": found.last_signed_in_at if found is not None else None,
        }
    )


@operations.post(
    "/me/password",
    SIGNED_IN,
    {204: Reply("The password is changed, and all other sessions have ended.")},
    body=NewPassword,
    errors=(WrongPassword, UserInvalid, UserOfProvider, TooManyAttempts),
)
def change_own_password(body: NewPassword) -> Response:
    """Change your own password; the old one is needed, and your other sessions end."""
    found = _find_self()
    if found is None:
        refuse("passwords of people")
    with auditing_refusals("password.change", found.id):
        if found.issuer is not None:
            raise UserOfProvider(f"you sign in at {found.issuer}: you have no password here")
        if not is_password(body.old, found.password_hash):
            raise WrongPassword("the old password is wrong")
        hashed = hash_password(body.new)
    with services().catalogue.begin() as tx:
        users.lock_user(tx, found.id)
        users.keep_hash(tx, found.id, hashed)
        ended = users.end_sessions(tx, found.id, but=principal().token.id)
        audit_done(tx, "password.change", found.id, sessions_ended=len(ended))
        withdrawn = withdraw(tx, *ended, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return Response(status=204)


def limit(limits: Limits) -> None:
    """Limit the number of wrong old passwords."""
    limits.limit_failures(
        change_own_password.__name__,
        lambda answered: answered.status_code == 403 and principal().is_person,
        {WRONG_PASSWORDS: lambda: f"own password {principal().id}"},
    )


def _find_self() -> UserRecord | None:
    """Return the person of the request; None for a token."""
    user_id = principal().token.user_id
    if user_id is None:
        return None
    with services().catalogue.begin() as tx:
        return users.get_user(tx, user_id)


def _as_token(who: UserRecord) -> TokenRecord:
    """Return the rights of a user as those of a token."""
    return TokenRecord(who.id, who.name, who.role, who.team, (), who.without)
