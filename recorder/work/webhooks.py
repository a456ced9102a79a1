"""Sign an event, send it to one webhook, and classify the response.

Signatures follow Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, an HMAC-SHA256 of both and the body. The libraries for this live here alone.
"""

import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Self

from requests import exceptions
from requests_hardened import Config, Manager
from requests_hardened.ip_filter import InvalidIPAddress
from standardwebhooks import Webhook
from urllib3.exceptions import HTTPError

from recorder.work.retry import backoff_s
from storage.catalogue.events import event_json
from storage.records import EventRecord, WebhookRecord

ANSWERS_WITHIN_S = 10.0
SHORT_BYTES = 16_384
# With 4xx the receiver rejects the event itself; sending it again will hardly help.
MOST_REJECTIONS = 5
RETRYABLE = frozenset({408, 425, 429})
LONGEST_RETRY_AFTER_S = 3600.0

# The library warns at every refused address; we log a failing webhook once.
logging.getLogger("requests_hardened").setLevel(logging.ERROR)


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
    """A connection that sends one event after another; use it as a context.

    It refuses private and loopback addresses unless they are allowed.
    """

    def __init__(self, *, allow_private_addresses: bool) -> None:
        config = Config(
            ip_filter_enable=not allow_private_addresses,
            ip_filter_allow_loopback_ips=False,
            never_redirect=True,
            default_timeout=(ANSWERS_WITHIN_S, ANSWERS_WITHIN_S),
            user_agent_override="earwitness",
        )
        self._session = Manager(config).get_session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def send(self, url: str, secret: str, event: EventRecord) -> WebhookResponse:
        """Send an event once. Raises nothing: a missing response has the status None."""
        body = event_json(event)
        headers = {"Content-Type": "application/json", **sign(secret, event.id, body)}
        try:
            with self._session.post(url, body.encode(), headers=headers, stream=True) as response:
                # Read a short body, so that the connection can be used again; ignore a longer one.
                with contextlib.suppress(HTTPError):
                    response.raw.read1(SHORT_BYTES, decode_content=False)
                return WebhookResponse(
                    response.status_code,
                    f"HTTP {response.status_code}",
                    parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC)),
                )
        except InvalidIPAddress:
            summary = "its address is private: see webhooks.allow_private_addresses"
        except exceptions.Timeout:
            summary = f"no answer within {ANSWERS_WITHIN_S:g} s"
        except exceptions.SSLError:
            summary = "its certificate does not hold"
        except exceptions.ConnectionError:
            summary = "it cannot be reached"
        except (exceptions.RequestException, ValueError) as error:
            summary = f"it cannot be asked ({type(error).__name__})"
        return WebhookResponse(None, summary)


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
