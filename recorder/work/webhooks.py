"""One event to one webhook: signed, sent, and what the answer means. Home of the libraries for it.

The scheme is that of Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, an HMAC-SHA256 of both and the body.
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
# An answer of 4xx is the receiver's own: the same event will hardly do better later.
MOST_REJECTIONS = 5
LATER = frozenset({408, 425, 429})
LONGEST_RETRY_AFTER_S = 3600.0

# It warns of each address that it refuses; what is refused is told once, as any failure is.
logging.getLogger("requests_hardened").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: `told` in words, and the `status`, None where there was no answer."""

    status: int | None
    told: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply means for the event.

    `delivered`; `later`: again after `wait_s`; `rejected`: so too, but not often; `refused`: it is
    left out; `gone`: the webhook wants no event ever again.
    """

    what: Literal["delivered", "later", "rejected", "refused", "gone"]
    wait_s: float = 0.0


class Sender:
    """Sends events one after another, over one connection; use it as a context.

    Private and loopback addresses are refused unless they are allowed.
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

    def send(self, url: str, secret: str, event: EventRecord) -> Reply:
        """Send it once. Raises nothing: that there was no answer is a reply, too."""
        body = event_json(event)
        headers = {"Content-Type": "application/json", **sign(secret, event.id, body)}
        try:
            with self._session.post(url, body.encode(), headers=headers, stream=True) as response:
                # A short body is taken so that the connection can be used again; no other matters.
                with contextlib.suppress(HTTPError):
                    response.raw.read1(SHORT_BYTES, decode_content=False)
                waits_s = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
                return Reply(response.status_code, f"HTTP {response.status_code}", waits_s)
        except InvalidIPAddress:
            return Reply(None, "its address is private: see webhooks.allow_private_addresses")
        except exceptions.Timeout:
            return Reply(None, f"no answer within {ANSWERS_WITHIN_S:g} s")
        except exceptions.SSLError:
            return Reply(None, "its certificate does not hold")
        except exceptions.ConnectionError:
            return Reply(None, "it cannot be reached")
        except (exceptions.RequestException, ValueError) as error:
            return Reply(None, f"it cannot be asked ({type(error).__name__})")


def sign(secret: str, id_: str, body: str) -> dict[str, str]:
    """The headers by which a receiver knows that a body is ours, and new."""
    now = datetime.now(UTC)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, now, body),
    }


def parse_retry_after(value: str | None, now: datetime) -> float:
    """Seconds to wait by this header, an hour at most; 0 where it says nothing."""
    try:
        wait_s = float(value or 0) if value is None or value.isdecimal() else _until(value, now)
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)


def _until(date: str, now: datetime) -> float:
    return (parsedate_to_datetime(date) - now).total_seconds()


def is_wanted(webhook: WebhookRecord, type_: str) -> bool:
    """Whether a webhook wants events of this type."""
    kind = type_.partition(".")[0]
    return not webhook.types or type_ in webhook.types or f"{kind}.*" in webhook.types


def judge(
    webhook: WebhookRecord,
    reply: Reply,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Verdict:
    """What this reply to its next event means. Pure, but for the jitter."""
    status = reply.status
    if status is not None and 200 <= status < 300:
        return Verdict("delivered")
    if status == 410:
        return Verdict("gone")
    if status is None or status >= 500 or status in LATER:
        return Verdict("later", max(reply.retry_after_s, backoff_s(webhook.attempts, uniform)))
    if webhook.rejections + 1 >= MOST_REJECTIONS:
        return Verdict("refused")
    return Verdict("rejected", backoff_s(webhook.rejections, uniform, growth=4.0))


def changes_of(
    webhook: WebhookRecord,
    verdict: Verdict,
    reply: Reply,
    now: datetime,
    passed: Mapping[str, Any],
) -> dict[str, Any]:
    """The columns of the webhook that change; `passed` are those that leave the event behind."""
    done = {**passed, "attempts": 0, "rejections": 0, "retry_at": None}
    failing = {"failing_since": webhook.failing_since or now, "last_error": reply.told}
    if verdict.what == "delivered":
        return {**done, "last_delivered_at": now, "failing_since": None}
    if verdict.what == "gone":
        return {**failing, "gone": True}
    if verdict.what == "refused":
        return {**failing, **done, "refused": webhook.refused + 1}
    return {
        **failing,
        "attempts": webhook.attempts + 1,
        "rejections": webhook.rejections + (verdict.what == "rejected"),
        "retry_at": now + timedelta(seconds=verdict.wait_s),
    }
