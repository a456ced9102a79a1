"""POST with an `Idempotency-Key`: acted on once, answered the same every time.

The answer is kept for a day, without the secret that some hold: it is told once. What failed is not
kept: the same key may be used to try again.
"""

import re
from collections.abc import Callable
from uuid import UUID

from flask import Response, request
from pydantic_core import from_json, to_json

from api.auth import asker, read_secret
from api.errors import RequestInvalid
from api.services import parts
from storage.catalogue.idempotency import Answer, claim_key, fingerprint, keep_answer, release_key

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY = re.compile(r"[\x21-\x7e]{1,255}")


def answered_once(act: Callable[[], Response], *, told_once: str = "") -> Response:
    """Act, or say again what the same request was answered before, its field `told_once` null."""
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    if not KEY.fullmatch(key):
        raise RequestInvalid.at("header", HEADER, "expected 1 to 255 visible ASCII characters")
    token_id, catalogue = asker().token.id, parts().catalogue
    with catalogue.begin() as tx:  # of its own: another request must see the claim at once
        kept = claim_key(
            tx,
            token_id,
            key,
            fingerprint(read_secret(), request.method, request.path, request.get_data()),
        )
    if kept is not None:
        return _replayed(kept)
    return _acted(act, token_id, key, told_once)


def _acted(act: Callable[[], Response], token_id: UUID, key: str, told_once: str) -> Response:
    catalogue = parts().catalogue
    try:
        answer = act()
    except Exception:
        with catalogue.begin() as tx:
            release_key(tx, token_id, key)
        raise
    # As text: the database would bring the fields of a JSON object into another order.
    text = _without(told_once, answer.get_data(as_text=True))
    kept = {"text": text, "location": answer.headers.get("Location")}
    with catalogue.begin() as tx:
        keep_answer(tx, token_id, key, Answer(answer.status_code, kept))
    return answer


def _without(told_once: str, text: str) -> str:
    return to_json(from_json(text) | {told_once: None}).decode() if told_once else text


def _replayed(kept: Answer) -> Response:
    answer = Response(kept.body["text"], kept.status, content_type="application/json")
    answer.headers[REPLAYED] = "true"
    if kept.body["location"]:
        answer.headers["Location"] = kept.body["location"]
    return answer
