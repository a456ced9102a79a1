"""Sign in through the identity provider: the way to it, and the way back."""

import hmac
import re

import structlog
from flask import Response, abort, make_response, redirect, request
from flask_babel import gettext as _

from api.auth import delete_secret_cookie, find_secret_cookie, set_secret_cookie
from api.claims import Identity
from api.errors import NameTaken, NotAdmitted, ProviderUnavailable, SignInCancelled, SignInUnproven
from api.limits import Limits, address
from api.links import base_url
from api.oidc import Provider
from api.operation import OPEN
from api.pages.page import Pages, local_path
from api.pages.sign_in import (
    FAILURES_PER_ADDRESS,
    audit_refusal,
    audit_sign_in,
    show_form,
    signed_in,
)
from api.problems import RETRY_AFTER_S, status_of
from api.services import services
from api.turns import give_turn_back
from recorder.withdrawal import Withdrawn, withdraw
from storage.actors import SIGN_IN
from storage.catalogue import sign_ins, users
from storage.catalogue.agents import find_teams
from storage.errors import EarwitnessError, NameInvalid, UserInvalid
from storage.records import Actor, SignInRecord

log = structlog.get_logger()
pages = Pages()

COOKIE = "earwitness_sign_in"
# Each start is a row. A whole office may start behind one address.
STARTS_PER_ADDRESS = "120 per minute"
# The codes of errors that OAuth and OpenID Connect know look like this one: access_denied.
ERROR_CODE = re.compile(r"[a-z_]{1,60}")


@pages.get("/sign-in/oidc", OPEN, acts=True)
def start_single_sign_on() -> Response:
    """Redirect to the provider; only this browser can come back, and only once."""
    wanted = local_path(request.args.get("next", "/"))
    try:
        with give_turn_back():
            url, begun = _provider().begin(_redirect_uri(), wanted)
    except ProviderUnavailable as error:
        return _show_failure(error, wanted)
    with services().catalogue.begin() as tx:
        secret = sign_ins.keep_sign_in(tx, begun)
    answered = make_response(redirect(url, 303))
    set_secret_cookie(answered, secret, COOKIE, lasts=sign_ins.LASTS)
    return answered


@pages.get("/sign-in/oidc/callback", OPEN, acts=True)
def finish_single_sign_on() -> Response:
    """Start a session for the person who came back from the provider."""
    provider, secret, begun = _provider(), find_secret_cookie(COOKIE), None
    if secret is not None:
        with services().catalogue.begin() as tx:
            begun = sign_ins.take_sign_in(tx, secret)
    wanted = begun.wanted if begun is not None else "/"
    try:
        secret = _begin_session(_identify(provider, begun))
    except (SignInCancelled, ProviderUnavailable) as error:
        answered = _show_failure(error, wanted)
    except SignInUnproven as error:
        with services().catalogue.begin() as tx:
            audit_refusal(tx, error.error_id)
        answered = _show_failure(error, wanted)
    except NotAdmitted as error:
        _refuse(error)
        answered = _show_failure(error, wanted)
    else:
        answered = signed_in(secret, wanted)
    delete_secret_cookie(answered, COOKIE)
    return answered


def limit(limits: Limits) -> None:
    """Limit the number of sign-ins from one address, and of failed callbacks."""
    limits.limit_failures(
        start_single_sign_on.__name__, lambda _: True, {STARTS_PER_ADDRESS: address}
    )
    limits.limit_failures(
        finish_single_sign_on.__name__,
        lambda answered: 400 <= answered.status_code < 500,
        {FAILURES_PER_ADDRESS: address},
    )


def _provider() -> Provider:
    return services().provider or abort(404)


def _redirect_uri() -> str:
    return f"{base_url()}/sign-in/oidc/callback"


def _identify(provider: Provider, begun: SignInRecord | None) -> Identity:
    """Check the provider's answer, and return the person's identity.

    Raises SignInUnproven, SignInCancelled, ProviderUnavailable, NotAdmitted.
    """
    given = request.args
    if begun is None:
        raise SignInUnproven("this browser started no sign-in, or too long ago")
    if not hmac.compare_digest(given.get("state", "").encode(), begun.state.encode()):
        raise SignInUnproven("the answer belongs to another sign-in")
    if given.get("error") == "access_denied":
        raise SignInCancelled("the provider answers access_denied")
    if "error" in given:
        is_code = ERROR_CODE.fullmatch(given["error"]) is not None
        code = given["error"] if is_code else "an error that has no code"
        raise ProviderUnavailable(f"the provider answers {code}")
    if given.get("iss", _issuer()) != _issuer():
        raise SignInUnproven("another provider answers")
    if "code" not in given:
        raise SignInUnproven("the answer has no code")
    with give_turn_back():
        return provider.finish(given["code"], begun, _redirect_uri())


def _begin_session(person: Identity) -> str:
    issuer, subject, name = _issuer(), person.subject, person.name
    role, team = person.role, person.team
    try:
        with services().catalogue.begin() as tx:
            before = users.find_subject(tx, issuer, subject)
            teams = find_teams(tx, {name, before.name if before is not None else name})
            known = users.bring_user(
                tx, issuer=issuer, subject=subject, name=name, role=role, team=team
            )
            audit_sign_in(tx, known, issuer=issuer, subject=subject, role=role, team=team)
            changed = (known.id,) if before is not None and before != known else ()
            withdrawn = withdraw(tx, *changed, teams_before=teams, by=Actor("user", name))
            secret = users.begin_session(tx, known)
    except (NameInvalid, UserInvalid) as error:
        raise NameTaken(str(error), subject=subject) from error
    services().spies.take_down(withdrawn.spy_ids)
    return secret


def _refuse(error: NotAdmitted) -> None:
    """Audit the refusal, and end the sessions and spies of a known person who lost the right."""
    withdrawn = Withdrawn()
    with services().catalogue.begin() as tx:
        known = users.find_subject(tx, _issuer(), error.subject)
        if known is not None:
            users.end_sessions(tx, known.id)
            withdrawn = withdraw(tx, known.id, by=SIGN_IN)
        detail = {"issuer": _issuer(), "subject": error.subject, "cause": str(error)}
        audit_refusal(tx, error.error_id, known, **detail)
    services().spies.take_down(withdrawn.spy_ids)


def _issuer() -> str:
    settings = services().settings.oidc
    return settings.issuer if settings is not None else ""


def _show_failure(error: EarwitnessError, wanted: str) -> Response:
    """Show the form, with the sentence for this failure and the next step."""
    sentences: dict[type[EarwitnessError], str] = {
        SignInCancelled: _(
            "You were not signed in by {name}. Try again, or ask its administrator."
        ),
        ProviderUnavailable: _("There is no answer from {name}. Try again in a minute."),
        NotAdmitted: _(
            "According to {name} you have no role or no team here. Ask your administrator for it."
        ),
        NameTaken: _("Your name is taken or reserved here. Ask your administrator to change it."),
        SignInUnproven: _(
            "This took too long, or was started in another browser. Try again; if it fails again,"
            " ask your administrator."
        ),
    }
    settings, status = services().settings.oidc, status_of(type(error))
    log.warning("sign-in.failed", error_id=error.error_id, detail=str(error))
    name = settings.name if settings is not None else ""
    answered = show_form(status, sentences[type(error)].format(name=name), wanted=wanted)
    if status == 503:
        answered.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answered
