"""The OpenAPI document, and a browser for it without files of other hosts."""

from importlib import resources

from flask import Response, abort, current_app, request
from pydantic import ConfigDict

from api.fields.base import Answer
from api.openapi import build_document
from api.operation import SIGNED_IN, Operations, Reply, answer, iter_operations, json

operations = Operations("/api", tag="documentation")

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Earwitness API</title>
<link rel="icon" href="/api/docs/favicon-32x32.png">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
<main id="browser"></main>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</html>
"""
START = """\
SwaggerUIBundle({
  url: `${location.origin}/api/openapi.json`,
  dom_id: "#browser",
  deepLinking: true,
  validatorUrl: null,
});
"""
# Scripts and styles only from this host; the styles draw some arrows as data: images.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
}


CACHED = {"Cache-Control": "private, no-cache"}  # the browser caches it, and checks its ETag


class OpenApi(Answer):
    """An OpenAPI 3.1 document."""

    model_config = ConfigDict(extra="allow", frozen=True)

    openapi: str


@operations.get("/openapi.json", SIGNED_IN, json(OpenApi))
def get_openapi() -> Response:
    """Get the OpenAPI document of this API."""
    return answer(build_document(iter_operations(current_app)))


@operations.get("/docs", SIGNED_IN, {200: Reply("A page.", media_types=("text/html",))})
def get_docs() -> Response:
    """Browse the API, and try it."""
    return Response(PAGE, mimetype="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@operations.get(
    "/docs/<asset>",
    SIGNED_IN,
    {
        200: Reply("A file of the page.", media_types=tuple(dict.fromkeys(ASSETS.values()))),
        304: Reply("`If-None-Match` names the file: it has not changed."),
    },
)
def get_docs_asset(asset: str) -> Response:
    """Get a file of the page."""
    if asset not in ASSETS:
        abort(404)
    content = START.encode()
    if asset != "start.js":
        content = (resources.files("flask_swagger_ui") / "dist" / asset).read_bytes()
    found = Response(content, mimetype=ASSETS[asset], headers=CACHED)
    found.add_etag()
    found.make_conditional(request)
    return found
