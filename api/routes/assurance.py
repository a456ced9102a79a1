"""The list of missing recordings."""

from flask import Response

from api.auth import principal
from api.fields.base import ListQuery, list_fields
from api.fields.calls import MissingList, missing_fields
from api.operation import Operations, answer, json
from api.services import services
from storage.catalogue import decisions
from storage.errors import BadCursor
from storage.permissions import RECORDINGS_READ

operations = Operations("/api/v1", tag="assurance")


@operations.get(
    "/assurance", RECORDINGS_READ, json(MissingList), query=ListQuery, errors=(BadCursor,)
)
def list_missing(query: ListQuery) -> Response:
    """List ended calls whose recording is missing or too short, newest first.

    Every ended call is compared with its decision within seconds.
    """
    with services().catalogue.begin() as tx:
        page = decisions.list_missing(
            tx, limit=query.limit, cursor=query.cursor, agents=principal().agents
        )
    return answer(list_fields(page, lambda item: missing_fields(*item)))
