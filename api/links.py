"""What the links in answers begin with."""

from flask import request

from api.parts import parts


def base_url() -> str:
    """The configured public URL, else the address that was asked; no forwarded header counts."""
    return parts().settings.public_url.rstrip("/") or request.host_url.rstrip("/")
