"""Send objects of the store to a client."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask import Response

from api.services import services
from storage.objects.store import OpenObject

PRESIGNED_FOR_S = 300


def redirect_to_object(key: str, content_type: str, file_name: str | None) -> Response:
    """Redirect to a presigned URL of the object; a `file_name` makes the browser save it."""
    url = services().objects.presign(
        key, expires_in_s=PRESIGNED_FOR_S, download_name=file_name, content_type=content_type
    )
    return Response(status=302, headers={"Location": url})


@contextmanager
def stream_object(
    answered: Response, key: str, *, first: int = 0, last: int | None = None
) -> Iterator[OpenObject]:
    """Stream an object of the store as the body of a response; the block may still refuse it.

    The stream is opened before anything is sent, so the client still gets its errors. It is closed
    together with the response.
    """
    with ExitStack() as opening:
        found = opening.enter_context(services().objects.open(key, first=first, last=last))
        yield found
        answered.response = found.chunks()
        answered.call_on_close(opening.pop_all().close)


def name_file(answered: Response, name: str) -> None:
    """Make a browser save the response under this name."""
    answered.headers["Content-Disposition"] = f'attachment; filename="{name}"'
