"""Requests that the PBX itself sends to the service, by the function `CURL()` of its dialplan."""

from collections.abc import Mapping
from urllib.parse import urlencode

from lab.waiting import until
from lab.world import World
from tests.service import Service


def curl(service: Service, world: World, what: str, *, login: str = "", **fields: str) -> str:
    """Return the line that the PBX's own `CURL()` gets."""
    output = world.pbx.cli(f"dialplan eval function CURL({_url(service, what, login, fields)})")
    return next(line.partition(": ")[2] for line in output.splitlines() if "Result" in line).strip()


def curl_with_header(service: Service, world: World, token: str, what: str, **fields: str) -> str:
    """Return the line that a channel of the dialplan gets, which sends the token in a header."""
    world.pbx.cli(f"dialplan set global CURL_TOKEN {token}")
    world.pbx.cli(f"dialplan set global CURL_URL {_url(service, what, '', fields)}")
    world.pbx.cli("channel originate Local/header@curl application Wait 1")

    def find() -> str:
        output = world.pbx.cli("dialplan eval function GLOBAL(CURL_SAID)")
        said = next(line.partition(": ")[2] for line in output.splitlines() if "Result" in line)
        assert said.startswith(("ok", "error")), output
        return said.strip()

    return until(find)


def _url(service: Service, what: str, login: str, fields: Mapping[str, str]) -> str:
    host = service.url.removeprefix("http://")
    return f"http://{login}{host}/api/v1/dialplan/{what}?{urlencode(fields)}"
