"""Sign an event, send it to one webhook, and classify the response.

Signatures follow Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, an HMAC-SHA256 of both and the body. The libraries for this live here alone.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from socket import gaierror
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Literal, Self

from standardwebhooks import Webhook

from recorder.work.addresses import parse_target
from recorder.work.exchange import (
    CONNECTED_WITHIN_S,
    AddressRefused,
    Deadline,
    Exchanges,
    NotConnected,
    Resolve,
)
from recorder.work.retry import backoff_s
from storage.catalogue.events import event_json
from storage.records import EventRecord, WebhookRecord

ANSWERS_WITHIN_S = 10.0
# Of the name of a new webhook.
LOOKED_UP_WITHIN_S = 3.0
# With 4xx the receiver rejects the event itself; sending it again will hardly help.
MOST_REJECTIONS = 5
RETRYABLE = frozenset({408, 425, 429})
LONGEST_RETRY_AFTER_S = 3600.0

HUNG_UP = "it closed the connection without an answer"
# From the special error to the general one.
SUMMARIES: Mapping[type[Exception], str] = {
    AddressRefused: "its address is private: see webhooks.allow_private_addresses",
    gaierror: "its name has no address",
    NotConnected: f"no connection within {CONNECTED_WITHIN_S:g} s",
    TimeoutError: "no answer within {within_s:g} s",
    SSLCertVerificationError: "its certificate does not hold",
    SSLError: "it does not speak TLS",
    ConnectionResetError: HUNG_UP,
    BrokenPipeError: HUNG_UP,
    OSError: "it cannot be reached",
    HTTPException: "its answer is not HTTP",
    ValueError: "its address cannot be used",
}


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The response to one event: `summary` in words, and `status`, None without any response."""

    status: int | None
    summary: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The meaning of a response for the event.

    `delivered`: go on with the next event. `postponed`: send it again after `wait_s`. `rejected`:
    the same, but only a few times. `refused`: skip this event. `gone`: send no event ever again.
    """

    kind: Literal["delivered", "postponed", "rejected", "refused", "gone"]
    wait_s: float = 0.0


class Sender:
    """Send one event after another, over the same connection; use it as a context.

    It refuses private and loopback addresses unless they are allowed. Each exchange ends
    `within_s`. By default the system looks names up (`resolve`) and says whom to trust (`tls`).
    """

    def __init__(
        self,
        *,
        allow_private_addresses: bool,
        within_s: float = ANSWERS_WITHIN_S,
        resolve: Resolve | None = None,
        tls: SSLContext | None = None,
    ) -> None:
        self._within_s, self._allows_private = within_s, allow_private_addresses
        self._exchanges = Exchanges(
            allow_private_addresses=allow_private_addresses, resolve=resolve, tls=tls
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exchanges.close()

    def find_refusal(self, url: str) -> str | None:
        """Return why no event may go to this URL, or None.

        A name that cannot be resolved now is no reason: each delivery looks it up again.
        """
        if self._allows_private:
            return None
        try:
            self._exchanges.find_addresses(parse_target(url), Deadline(LOOKED_UP_WITHIN_S))
        except (AddressRefused, ValueError) as error:
            return str(error)
        except OSError:
            pass
        return None

    def send(self, url: str, secret: str, event: EventRecord) -> WebhookResponse:
        """Send an event once. Raises nothing: a missing response has the status None.

        All of it, from the lookup of the name to the answer, ends within one deadline.
        """
        body = event_json(event)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "earwitness",
            **sign(secret, event.id, body),
        }
        try:
            answer = self._exchanges.post(
                parse_target(url), body.encode(), headers, within_s=self._within_s
            )
        except (OSError, HTTPException, ValueError) as error:
            words = next(words for type_, words in SUMMARIES.items() if isinstance(error, type_))
            return WebhookResponse(None, words.format(within_s=self._within_s))
        return WebhookResponse(
            answer.status,
            f"HTTP {answer.status}",
            parse_retry_after(answer.retry_after, datetime.now(UTC)),
        )


def sign(secret: str, id_: str, body: str) -> dict[str, str]:
    """Return the headers that prove to a receiver that we sent this body, and when."""
    now = datetime.now(UTC)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, now, body),
    }


def parse_retry_after(value: str | None, now: datetime) -> float:
    """Return the seconds that a `Retry-After` header asks for, an hour at most, or 0.

    Example: `parse_retry_after("120", now)` is 120, and so is a date two minutes after `now`.
    """
    try:
        if value is None or value.isdecimal():
            wait_s = float(value or 0)
        else:
            wait_s = (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)


def is_wanted(webhook: WebhookRecord, type_: str) -> bool:
    """Return whether a webhook wants events of this type."""
    kind = type_.partition(".")[0]
    return not webhook.types or type_ in webhook.types or f"{kind}.*" in webhook.types


def classify_response(
    webhook: WebhookRecord,
    response: WebhookResponse,
    uniform: Callable[[float, float], float] = random.uniform,
) -> DeliveryOutcome:
    """Return the meaning of the response to a webhook's next event. Pure, except for the jitter.

    Example: status 503 means `postponed`, for as long as `Retry-After` asks or our backoff says.
    """
    status = response.status
    if status is not None and 200 <= status < 300:
        return DeliveryOutcome("delivered")
    if status == 410:
        return DeliveryOutcome("gone")
    if status is None or status >= 500 or status in RETRYABLE:
        backoff = backoff_s(webhook.attempts, uniform)
        return DeliveryOutcome("postponed", max(response.retry_after_s, backoff))
    if webhook.rejections + 1 >= MOST_REJECTIONS:
        return DeliveryOutcome("refused")
    return DeliveryOutcome("rejected", backoff_s(webhook.rejections, uniform, growth=4.0))


def changes_of(
    webhook: WebhookRecord,
    outcome: DeliveryOutcome,
    response: WebhookResponse,
    now: datetime,
    passed: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the changed columns of the webhook; `passed` moves it on to the next event."""
    done = {**passed, "attempts": 0, "rejections": 0, "retry_at": None}
    failing = {"failing_since": webhook.failing_since or now, "last_error": response.summary}
    if outcome.kind == "delivered":
        return {**done, "last_delivered_at": now, "failing_since": None}
    if outcome.kind == "gone":
        return {**failing, "gone": True}
    if outcome.kind == "refused":
        return {**failing, **done, "refused": webhook.refused + 1}
    return {
        **failing,
        "attempts": webhook.attempts + 1,
        "rejections": webhook.rejections + (outcome.kind == "rejected"),
        "retry_at": now + timedelta(seconds=outcome.wait_s),
    }
