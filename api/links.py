"""What the links in answers begin with."""

from urllib.parse import urlsplit
from uuid import UUID

from flask import request

from api.services import services


def base_url() -> str:
    """The configured public URL, else the address that was asked; no forwarded header counts."""
    return services().settings.public_url.rstrip("/") or request.host_url.rstrip("/")


def audio_url(spy_id: UUID, token: str) -> str:
    """Where a page hears the spy; whoever has the token may."""
    return f"{_media_url()}/spies/{spy_id}?token={token}"


def media_origin() -> str:
    """The origin of what `audio_url` tells."""
    url = urlsplit(_media_url())
    return f"{url.scheme}://{url.netloc}"


def _media_url() -> str:
    settings = services().settings
    return settings.media_url.rstrip("/") or f"ws://{_host()}:{settings.media_port}"


def _host() -> str:
    host = urlsplit(base_url()).hostname or ""
    return f"[{host}]" if ":" in host else host
