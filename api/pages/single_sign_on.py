"""Signing in at the identity provider: there, and back again."""

import hmac
from collections.abc import Sequence
from uuid import UUID

import structlog
from flask import Response, abort, make_response, redirect, request
from flask_babel import gettext as _

from api.auth import find_secret, forget_secret, keep_secret
from api.claims import Identity
from api.errors import NameTaken, NotAdmitted, ProviderUnavailable, SignInCancelled, SignInUnproven
from api.limits import Limits, address
from api.links import base_url
from api.oidc import Provider
from api.operation import OPEN
from api.pages.page import Pages, local_path
from api.pages.sign_in import FAILURES_PER_ADDRESS, note, show_form, signed_in
from api.problems import RETRY_AFTER_S, status_of
from api.services import services
from api.turns import others_turn
from recorder.spy.trail import dismiss
from storage.catalogue import sign_ins, users
from storage.errors import EarwitnessError, UserInvalid
from storage.records import SignInRecord

log = structlog.get_logger()
pages = Pages()

COOKIE = "earwitness_sign_in"


@pages.get("/sign-in/oidc", OPEN)
def begin_single_sign_on() -> Response:
    """On to the provider; this browser alone can come back from there, once."""
    wanted = local_path(request.args.get("next", "/"))
    try:
        with others_turn():
            url, begun = _provider().begin(_redirect_uri(), wanted)
    except ProviderUnavailable as error:
        return _show_failure(error, wanted)
    with services().catalogue.begin() as tx:
        secret = sign_ins.keep_sign_in(tx, begun)
    answered = make_response(redirect(url, 303))
    keep_secret(answered, secret, COOKIE, lasts=sign_ins.LASTS)
    return answered


@pages.get("/sign-in/oidc/callback", OPEN)
def finish_single_sign_on() -> Response:
    """Begin a session for who has come back."""
    provider, begun = _provider(), _take()
    wanted = begun.wanted if begun is not None else "/"
    try:
        secret = _begin_session(_identify(provider, begun))
    except (SignInUnproven, SignInCancelled, ProviderUnavailable) as error:
        answered = _show_failure(error, wanted)
    except NotAdmitted as error:
        _refuse(error)
        answered = _show_failure(error, wanted)
    else:
        answered = signed_in(secret, wanted)
    forget_secret(answered, COOKIE)
    return answered


def limit(limits: Limits) -> None:
    """Let an address fail only so often to come back from the provider."""
    limits.limit_failures(
        finish_single_sign_on.__name__,
        lambda answered: 400 <= answered.status_code < 500,
        {FAILURES_PER_ADDRESS: address},
    )


def _provider() -> Provider:
    return services().provider or abort(404)


def _redirect_uri() -> str:
    return f"{base_url()}/sign-in/oidc/callback"


def _take() -> SignInRecord | None:
    secret = find_secret(COOKIE)
    if secret is None:
        return None
    with services().catalogue.begin() as tx:
        return sign_ins.take_sign_in(tx, secret)


def _identify(provider: Provider, begun: SignInRecord | None) -> Identity:
    """Who has come back; raises what speaks against it."""
    told = request.args
    if begun is None:
        raise SignInUnproven("this browser has begun none, or too long ago")
    if not hmac.compare_digest(told.get("state", "").encode(), begun.state.encode()):
        raise SignInUnproven("it is the answer to another")
    if told.get("error") == "access_denied":
        raise SignInCancelled("the provider says access_denied")
    if "error" in told:
        raise ProviderUnavailable(f"the provider says {told['error'][:100]}")
    if "code" not in told:
        raise SignInUnproven("no code came along")
    with others_turn():
        return provider.finish(told["code"], begun, _redirect_uri())


def _begin_session(person: Identity) -> str:
    issuer, subject, name = _issuer(), person.subject, person.name
    role, team = person.role, person.team
    try:
        with services().catalogue.begin() as tx:
            before = users.find_subject(tx, issuer, subject)
            known = users.bring_user(
                tx, issuer=issuer, subject=subject, name=name, role=role, team=team
            )
            note(tx, name, "done", issuer=issuer, subject=subject, role=role, team=team)
            is_other = before is not None and before != known
            dismissed = dismiss(tx, before.name, by=name) if before and is_other else ()
            secret = users.begin_session(tx, known)
    except UserInvalid as error:
        raise NameTaken(str(error), name=name, subject=subject) from error
    services().spies.take_down(dismissed)
    return secret


def _refuse(error: NotAdmitted) -> None:
    """Who is let in no more is not let stay either."""
    dismissed: Sequence[UUID] = ()
    with services().catalogue.begin() as tx:
        known = users.find_subject(tx, _issuer(), error.subject)
        if known is not None:
            users.end_sessions(tx, known.id)
            dismissed = dismiss(tx, known.name, by=known.name)
        told = {"issuer": _issuer(), "subject": error.subject, "reason": str(error)}
        note(tx, error.name, "refused", **told)
    services().spies.take_down(dismissed)


def _issuer() -> str:
    settings = services().settings.oidc
    return settings.issuer if settings is not None else ""


def _show_failure(error: EarwitnessError, wanted: str) -> Response:
    status = status_of(type(error))
    log.warning("sign-in.failed", error_id=error.error_id, detail=str(error))
    answered = show_form(status, _sentence(error), wanted=wanted)
    if status == 503:
        answered.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answered


def _sentence(error: EarwitnessError) -> str:
    """What happened, and what to do next."""
    settings = services().settings.oidc
    sentences = {
        SignInCancelled: _(
            "You were not signed in by {name}. Try again, or ask its administrator."
        ),
        ProviderUnavailable: _("There is no answer from {name}. Try again in a minute."),
        NotAdmitted: _(
            "You have no role or no team here, says {name}. Ask your administrator for it."
        ),
        NameTaken: _("Somebody else has your name here. Ask your administrator to rename one."),
        SignInUnproven: _(
            "This took too long, or was begun elsewhere. Try again; if it stays so, ask your"
            " administrator."
        ),
    }
    sentence: str = sentences[type(error)]
    return sentence.format(name=settings.name if settings is not None else "")
