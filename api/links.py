"""What the links in answers begin with."""

from urllib.parse import urlsplit
from uuid import UUID

from flask import request

from api.parts import parts


def base_url() -> str:
    """The configured public URL, else the address that was asked; no forwarded header counts."""
    return parts().settings.public_url.rstrip("/") or request.host_url.rstrip("/")


def audio_url(spy_id: UUID, token: str) -> str:
    """Where a page hears the spy; whoever has the token may."""
    settings = parts().settings
    ours = settings.media_url.rstrip("/") or f"ws://{_host()}:{settings.media_port}"
    return f"{ours}/spies/{spy_id}?token={token}"


def _host() -> str:
    host = urlsplit(base_url()).hostname or ""
    return f"[{host}]" if ":" in host else host
