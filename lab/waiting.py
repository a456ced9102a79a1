"""Wait with a deadline, instead of sleeping for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

import requests

T = TypeVar("T")

POLL_S = 0.02


def until(assertion: Callable[[], T | None], timeout_s: float = 10.0) -> T:
    """Call `assertion` until it succeeds, and return its result.

    It succeeds when it neither raises AssertionError nor returns False or None. After `timeout_s`
    raise its last AssertionError, or TimeoutError when it raised none.

    Example: `until(lambda: service.get("/calls")["items"] == [])`
    """
    deadline = time.monotonic() + timeout_s
    while True:
        problem: AssertionError | None = None
        try:
            answer = assertion()
            if answer is not None and answer is not False:
                return answer
        except AssertionError as error:
            problem = error
        if time.monotonic() >= deadline:
            raise problem or TimeoutError(f"not within {timeout_s:g} s: {assertion!r}")
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    """Return whether a server answers this URL with success.

    Example: `until(lambda: answers(f"{url}/health/ready"), 30)`
    """
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
