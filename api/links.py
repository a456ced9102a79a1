"""Build the addresses in answers."""

from urllib.parse import urlsplit
from uuid import UUID

from flask import request

from api.services import services


def base_url() -> str:
    """Return the configured public URL, else the address of this request.

    Headers such as X-Forwarded-Host are ignored: any client can send them.
    """
    return services().settings.public_url.rstrip("/") or request.host_url.rstrip("/")


def audio_url(spy_id: UUID, token: str) -> str:
    """Return the WebSocket on which a page hears the spy; its token is the only permission."""
    return f"{_media_url()}/spies/{spy_id}?token={token}"


def media_origin() -> str:
    """Return the origin of the media server, for the pages' Content-Security-Policy."""
    url = urlsplit(_media_url())
    return f"{url.scheme}://{url.netloc}"


def _media_url() -> str:
    settings = services().settings
    host = urlsplit(base_url()).hostname or ""
    host = f"[{host}]" if ":" in host else host
    return settings.media_url.rstrip("/") or f"ws://{host}:{settings.media_port}"
