"""A channel that we made can be used once it is in our application, a few milliseconds later."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from recorder.ari import AriError

T = TypeVar("T")

DEADLINE_S = 2.0
TOO_EARLY = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


def in_stasis(act: Callable[[], T]) -> T:
    """Do what can only be done with channels that are in our application, as soon as they are.

    Raises the AriError of the last attempt.
    """
    attempts = Retrying(
        retry=retry_if_exception(_is_too_early),
        stop=stop_after_delay(DEADLINE_S),
        wait=wait_fixed(0.003),
        reraise=True,
    )
    return attempts(act)


def _is_too_early(error: BaseException) -> bool:
    return isinstance(error, AriError) and error.status in TOO_EARLY
