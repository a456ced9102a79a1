"""Compressed answers, and static files that a browser keeps for ever."""

import gzip
import re

import brotli
import pytest
from api_client import ApiClient

from api.routes.static import static_path

LONG, SHORT = "/api/openapi.json", "/health/live"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br, zstd", "zstd"), ("gzip, br", "br"), ("gzip", "gzip"), ("deflate", None)],
)
def test_text_is_compressed(client: ApiClient, accepted: str, coding: str | None) -> None:
    """A long answer has the best coding that the client accepts, and names the header."""
    answered = client.get(LONG, headers={"Accept-Encoding": accepted})
    assert answered.headers.get("Content-Encoding") == coding
    assert "Accept-Encoding" in answered.headers["Vary"]
    assert int(answered.headers["Content-Length"]) == len(answered.data)
    plain = client.get(LONG).data
    decode = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}.get(coding)
    assert decode is None or decode(answered.data) == plain
    assert (len(answered.data) < len(plain) / 2) is (coding is not None)


def test_what_must_not_be_compressed_is_not(client: ApiClient) -> None:
    """Short answers and event streams go out as they are."""
    headers = {"Accept-Encoding": "gzip, br, zstd"}
    assert "Content-Encoding" not in client.get(SHORT, headers=headers).headers
    stream = client.get("/api/v1/events", headers=headers)
    assert "Content-Encoding" not in stream.headers
    stream.close()


def test_our_pages_use_files_that_never_change(client: ApiClient) -> None:
    """The address of a file has the hash of all; a browser keeps it, as do the modules in it."""
    stranger = client.as_holder_of(None)
    page = stranger.application.test_client().get("/sign-in").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"#]+)', page)
    assert static_path("page.js") in addresses
    assert static_path("vendor/htmx.js") in addresses
    for address in addresses:
        found = stranger.get(address)
        assert found.status_code == 200
        assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (
            found.data == stranger.get(re.sub(r"/static/\w+/", "/static/", address, count=1)).data
        )


def test_a_page_of_another_version_finds_the_present_files(client: ApiClient) -> None:
    """An unknown hash redirects to the present file, which is not kept; an unknown file is 404."""
    stranger = client.as_holder_of(None)
    for name in ("page.js", "vendor/htmx.js"):
        moved = stranger.get(f"/static/0123456789abcdef/{name}")
        assert (moved.status_code, moved.headers["Location"]) == (302, f"/static/{name}")
        assert "immutable" not in moved.headers["Cache-Control"]
    assert stranger.get("/static/0123456789abcdef/none.js").status_code == 404
    assert stranger.get(static_path("none.js")).status_code == 404


def test_a_compressed_file_is_checked_by_its_tag(client: ApiClient) -> None:
    """Each coding of a file has an ETag of its own, and answers 304 to it."""
    stranger = client.as_holder_of(None)
    headers = {"Accept-Encoding": "br"}
    found, plain = stranger.get("/static/app.css", headers=headers), stranger.get("/static/app.css")
    assert found.headers["Content-Encoding"] == "br"
    assert found.headers["ETag"] != plain.headers["ETag"]
    again = headers | {"If-None-Match": found.headers["ETag"]}
    assert stranger.get("/static/app.css", headers=again).status_code == 304
