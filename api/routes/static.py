"""The static files of the pages: our ES modules, style and icons, and libraries from npm.

They are the same for everybody and hold no secret, so they need no token. Pages of other sites may
import them, for example to play a call there.
"""

import mimetypes
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


ANSWERS = {
    200: Reply("A file.", media_types=KINDS),
    304: Reply("`If-None-Match` names the file: it has not changed."),
}


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


def _answer(name: str, content: bytes) -> Response:
    kind = mimetypes.guess_type(name)[0]
    found = Response(content, mimetype=kind, headers=HEADERS)
    found.add_etag()
    found.make_conditional(request)
    return found
