"""Wait until our new channels are in our application, which takes a few milliseconds."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from recorder.ari import AriError

T = TypeVar("T")

DEADLINE_S = 2.0
TOO_EARLY = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


def in_stasis(act: Callable[[], T]) -> T:
    """Repeat a request until its channels are in our application; return the result.

    Example: `in_stasis(lambda: ari.add_to_bridge(bridge_id, channel_id))`. Raises the AriError of
    the last attempt.
    """

    def is_too_early(error: BaseException) -> bool:
        return isinstance(error, AriError) and error.status in TOO_EARLY

    attempts = Retrying(
        retry=retry_if_exception(is_too_early),
        stop=stop_after_delay(DEADLINE_S),
        wait=wait_fixed(0.003),
        reraise=True,
    )
    return attempts(act)
