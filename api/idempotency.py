"""Act once on a POST with an `Idempotency-Key`, and give each repetition the same answer.

The answer is stored for a day, without the secret that some answers hold. A failure is not stored:
the client may retry under the same key.
"""

import re
from collections.abc import Callable

from flask import Response, request
from pydantic_core import from_json, to_json

from api.auth import principal, read_secret
from api.errors import RequestInvalid
from api.services import services
from storage.catalogue.idempotency import (
    StoredAnswer,
    claim_key,
    fingerprint,
    keep_answer,
    release_key,
)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY = re.compile(r"[\x21-\x7e]{1,255}")


def act_once(act: Callable[[], Response], *, shown_once: str = "") -> Response:
    """Act, or repeat the answer of the first such request, without its secret.

    `shown_once` names the field that holds a secret: in a repeated answer it is null.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    if not KEY.fullmatch(key):
        raise RequestInvalid.at("header", HEADER, "expected 1 to 255 visible ASCII characters")
    token_id, catalogue = principal().token.id, services().catalogue
    with catalogue.begin() as tx:  # a transaction of its own: other requests must see the claim
        kept = claim_key(
            tx,
            token_id,
            key,
            fingerprint(read_secret(), request.method, request.path, request.get_data()),
        )
    if kept is not None:
        answer = Response(kept.body["text"], kept.status, content_type="application/json")
        answer.headers[REPLAYED] = "true"
        if kept.body["location"]:
            answer.headers["Location"] = kept.body["location"]
        return answer
    try:
        answer = act()
    except Exception:
        with catalogue.begin() as tx:
            release_key(tx, token_id, key)
        raise
    # Store the text: JSONB would change the order of the fields.
    text = answer.get_data(as_text=True)
    if shown_once:
        text = to_json(from_json(text) | {shown_once: None}).decode()
    body = {"text": text, "location": answer.headers.get("Location")}
    with catalogue.begin() as tx:
        keep_answer(tx, token_id, key, StoredAnswer(answer.status_code, body))
    return answer
