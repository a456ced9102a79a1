"""What lies in the object store, on its way to a client."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask import Response

from api.services import services
from storage.objects.s3 import OpenObject

PRESIGNED_FOR_S = 300


def redirect_to_object(key: str, content_type: str, file_name: str | None) -> Response:
    """To a URL that gives the object for a while, to whoever has it; `file_name`: to be saved."""
    url = services().objects.presign(
        key, expires_in_s=PRESIGNED_FOR_S, download_name=file_name, content_type=content_type
    )
    return Response(status=302, headers={"Location": url})


@contextmanager
def passed_on(
    answered: Response, key: str, *, first: int = 0, last: int | None = None
) -> Iterator[OpenObject]:
    """Let the store's bytes be the answer's, as they come; the block may still refuse them.

    The stream is opened here, before anything is sent, so that its errors are still answered; it is
    closed with the answer, come what may.
    """
    with ExitStack() as opening:
        found = opening.enter_context(services().objects.open(key, first=first, last=last))
        yield found
        answered.response = found.chunks()
        answered.call_on_close(opening.pop_all().close)


def name_file(answered: Response, name: str) -> None:
    """Let a browser save the answer under this name."""
    answered.headers["Content-Disposition"] = f'attachment; filename="{name}"'
