"""Our ES modules: what a web page needs to hear a call.

They are the same for everybody and hold no secret, so they need no token, and pages of other sites
may import them.
"""

from importlib import resources

from flask import Response, abort, request

from api.operation import OPEN, Operations, Told

operations = Operations("/static", tag="documentation")

DIRECTORY = resources.files("api") / "static"
JAVASCRIPT = "text/javascript"
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "public, no-cache",  # kept, and asked for again by its ETag
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@operations.get(
    "/<module>",
    OPEN,
    {
        200: Told("An ES module.", media_types=(JAVASCRIPT,)),
        304: Told("`If-None-Match` names the module: it has not changed."),
    },
)
def get_module(module: str) -> Response:
    """Get an ES module, such as `spy.js`."""
    if module not in _modules():
        abort(404)
    found = Response((DIRECTORY / module).read_bytes(), mimetype=JAVASCRIPT, headers=HEADERS)
    found.add_etag()
    found.make_conditional(request)
    return found


def _modules() -> frozenset[str]:
    if not DIRECTORY.is_dir():
        return frozenset()
    return frozenset(one.name for one in DIRECTORY.iterdir() if one.name.endswith(".js"))
