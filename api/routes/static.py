"""The static files of the pages: our ES modules, style and icons, and libraries from npm.

They are the same for everybody and hold no secret, so they need no token. Pages of other sites may
import them, for example to play a call there.

Our own pages use addresses with a hash of all files, such as `/static/3f0c…/page.js`: a browser
keeps such a file for ever, and the modules that it imports have the same hash.
"""

import hashlib
import mimetypes
from functools import cache
from importlib import resources
from pathlib import Path

from flask import Response, abort, request

from api.operation import OPEN, Operations, Reply

operations = Operations("/static", tag="documentation")

DIRECTORY = resources.files("api") / "static"
KINDS = ("text/javascript", "text/css", "image/svg+xml")
# Name in the address → file in `node_modules` beside the package.
VENDOR = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "wavesurfer.js": "wavesurfer.js/dist/wavesurfer.esm.js",
}
NODE_MODULES = Path(__file__).resolve().parents[2] / "node_modules"
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "public, no-cache",  # the browser caches it, and checks its ETag
    "Cross-Origin-Resource-Policy": "cross-origin",
}
FOR_EVER = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}


ANSWERS = {
    200: Reply("A file.", media_types=KINDS),
    304: Reply("`If-None-Match` names the file: it has not changed."),
}


OF_ONE_VERSION = ANSWERS | {302: Reply("Another version has this file now.")}


@cache
def version() -> str:
    """Return the hash of all files."""
    digest = hashlib.sha256()
    own = {one.name: one for one in DIRECTORY.iterdir() if one.is_file()}
    vendor = {f"vendor/{name}": NODE_MODULES / file for name, file in VENDOR.items()}
    for name, path in sorted((own | vendor).items()):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def static_path(name: str) -> str:
    """Return the address of a file in this version, for our own pages.

    Example: `static_path("page.js")` is `/static/3f0c5a7d9e1b2c48/page.js`.
    """
    return f"/static/{version()}/{name}"


@operations.get("/<name>", OPEN, ANSWERS)
def get_static(name: str) -> Response:
    """Get an ES module, such as `spy.js`, a style sheet or an icon."""
    # The rule has no slash in a name, so the file is in this directory.
    if not (DIRECTORY / name).is_file():
        abort(404)
    return _answer(name, (DIRECTORY / name).read_bytes())


@operations.get("/vendor/<name>", OPEN, ANSWERS)
def get_vendor(name: str) -> Response:
    """Get a library of the pages."""
    path = NODE_MODULES / VENDOR.get(name, "")
    if not path.is_file():
        abort(404)
    return _answer(name, path.read_bytes())


@operations.get("/<wanted>/<name>", OPEN, OF_ONE_VERSION)
def get_static_of_version(wanted: str, name: str) -> Response:
    """Get an ES module, a style sheet or an icon, which a browser may keep for ever.

    A page that was loaded before an upgrade is redirected to the present files.
    """
    found = get_static(name)
    return _keep(found) if wanted == version() else _redirect(name)


@operations.get("/<wanted>/vendor/<name>", OPEN, OF_ONE_VERSION)
def get_vendor_of_version(wanted: str, name: str) -> Response:
    """Get a library of the pages, which a browser may keep for ever."""
    found = get_vendor(name)
    return _keep(found) if wanted == version() else _redirect(f"vendor/{name}")


def _keep(found: Response) -> Response:
    found.headers.update(FOR_EVER)
    return found


def _redirect(name: str) -> Response:
    return Response(status=302, headers=HEADERS | {"Location": f"/static/{name}"})


def _answer(name: str, content: bytes) -> Response:
    kind = mimetypes.guess_type(name)[0]
    found = Response(content, mimetype=kind, headers=HEADERS)
    found.add_etag()
    found.make_conditional(request)
    return found
