"""Limit the failures of sign-in, counted in the catalogue, so that all processes share a count."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from flask import Flask, Response
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from limits.storage import Storage

from storage.catalogue import hits
from storage.catalogue.engine import Catalogue
from storage.errors import CatalogueUnavailable

SCHEME = "catalogue"


class CatalogueStorage(Storage):
    """The storage that Flask-Limiter finds under `catalogue://`. Raises CatalogueUnavailable."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012  # the library declares it as a list

    def __init__(self, uri: str, *, catalogue: Catalogue, wrap_exceptions: bool = False) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._catalogue = catalogue

    @property
    def base_exceptions(self) -> type[Exception]:
        """The error of this storage."""
        return CatalogueUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to the count of the present window of `expiry` seconds, and return it."""
        with self._catalogue.begin() as tx:
            return hits.add_hits(tx, key, amount=amount, lasts=timedelta(seconds=expiry))

    def get(self, key: str) -> int:
        """Return the count."""
        with self._catalogue.begin() as tx:
            found = hits.find_hits(tx, key)
        return found[0] if found is not None else 0

    def get_expiry(self, key: str) -> float:
        """Return the end of the window in seconds since 1970; now if there is no window."""
        with self._catalogue.begin() as tx:
            found = hits.find_hits(tx, key)
        return found[1].timestamp() if found is not None else time.time()

    def check(self) -> bool:
        """Whether the catalogue answers."""
        self.get("")
        return True

    def reset(self) -> int:
        """Delete all counts, and return their number."""
        with self._catalogue.begin() as tx:
            return hits.delete_hits(tx)

    def clear(self, key: str) -> None:
        """Delete one count."""
        with self._catalogue.begin() as tx:
            hits.delete_hits(tx, key)


def address() -> str:
    """Return the key for counting by client: the address of the request.

    One client has all the addresses of its IPv6 network, so these count as one: `2001:db8::/64`.
    """
    given = get_remote_address()
    try:
        parsed = ip_address(given)
    except ValueError:
        return given
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return given
    return str(ip_network((parsed, 64), strict=False))


class Limits:
    """The limits of one application; `answer` builds the response, from the seconds to wait."""

    def __init__(self, app: Flask, catalogue: Catalogue, answer: Callable[[int], Response]) -> None:
        self._app = app
        self._limiter = Limiter(
            get_remote_address,
            app=app,
            storage_uri=f"{SCHEME}://",
            storage_options={"catalogue": catalogue},  # type: ignore[dict-item]  # goes through
        )

        def answer_exceeded(exceeded: RateLimitExceeded) -> Response:
            return answer(exceeded.limit.limit.get_expiry())

        app.register_error_handler(RateLimitExceeded, answer_exceeded)

    def limit_failures(
        self,
        page: str,
        has_failed: Callable[[Response], bool],
        allowed: Mapping[str, Callable[[], str]],
        *,
        concerns: Callable[[], bool] = lambda: True,
    ) -> None:
        """Let a page fail only so often, such as "10 per 15 minutes", each counted by a key.

        A request that the limit does not concern is neither counted nor stopped.
        """
        limited: Any = self._app.view_functions[page]
        for often, key in allowed.items():
            limited = self._limiter.limit(
                often, key_func=key, deduct_when=has_failed, exempt_when=lambda: not concerns()
            )(limited)
        self._app.view_functions[page] = limited
