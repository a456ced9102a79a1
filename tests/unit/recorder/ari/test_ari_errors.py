"""The error for each HTTP status."""

import pytest

from recorder.ari.errors import (
    AriBadRequest,
    AriConflict,
    AriError,
    AriNotFound,
    AriServerError,
    AriUnauthorized,
    AriUnavailable,
    error_for,
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, AriServerError),
        (400, AriBadRequest),
        (401, AriUnauthorized),
        (403, AriUnauthorized),
        (404, AriNotFound),
        (405, AriBadRequest),
        (409, AriConflict),
        (412, AriConflict),
        (422, AriBadRequest),
        (500, AriServerError),
        (501, AriServerError),
        (502, AriUnavailable),
        (503, AriUnavailable),
        (504, AriUnavailable),
    ],
)
def test_each_status_has_its_error(status: int, expected: type[AriError]) -> None:
    """An error has its class, and status, method, path and message of the request."""
    error = error_for(status, "Channel not found", method="GET", path="/channels/a")
    assert type(error) is expected
    assert (error.status, error.method, error.path) == (status, "GET", "/channels/a")
    assert str(error) == f"GET /channels/a: {status} Channel not found"


@pytest.mark.parametrize("message", [None, "Resource not found"])
def test_a_404_without_a_thing_is_unavailable(message: str | None) -> None:
    """A starting Asterisk answers 404 to everything, which proves nothing about a channel."""
    assert type(error_for(404, message, method="GET", path="/channels/a")) is AriUnavailable
