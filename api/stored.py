"""Send objects of the store to a client."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from flask import Response

from api.present_rights import while_permitted
from api.services import services
from storage.objects.errors import ObjectMismatch
from storage.objects.store import OpenObject

PRESIGNED_FOR_S = 300


def redirect_to_object(
    key: str, content_type: str, file_name: str | None, *, size_bytes: int
) -> Response:
    """Redirect to a presigned URL of the object; a `file_name` makes the browser save it.

    Raises NoSuchObject, ObjectMismatch, and the errors of the store: nobody is sent to an object
    that is gone.
    """
    check_object(key, size_bytes=size_bytes)
    url = services().objects.presign(
        key, expires_in_s=PRESIGNED_FOR_S, download_name=file_name, content_type=content_type
    )
    return Response(status=302, headers={"Location": url})


def check_object(key: str, *, size_bytes: int) -> None:
    """Raise NoSuchObject or ObjectMismatch if the store has no object of this size."""
    check_size(key, services().objects.head(key).size_bytes, size_bytes)


def check_size(key: str, present_bytes: int, size_bytes: int) -> None:
    """Raise ObjectMismatch if an object has another size than the one that was stored."""
    if present_bytes != size_bytes:
        raise ObjectMismatch(f"{key} has {present_bytes} bytes in the store, not {size_bytes}")


@contextmanager
def stream_object(
    answered: Response,
    key: str,
    is_permitted: Callable[[], bool],
    *,
    first: int = 0,
    last: int | None = None,
) -> Iterator[OpenObject]:
    """Stream an object of the store as the body of a response; the block may still refuse it.

    The connection closes before the end once `is_permitted`, which is asked every second, says no.

    The stream is opened before anything is sent, so the client still gets its errors. It is closed
    together with the response.
    """
    with ExitStack() as opening:
        found = opening.enter_context(services().objects.open(key, first=first, last=last))
        yield found
        answered.response = while_permitted(found.chunks(), is_permitted)
        answered.call_on_close(opening.pop_all().close)


def name_file(answered: Response, name: str) -> None:
    """Make a browser save the response under this name."""
    answered.headers["Content-Disposition"] = f'attachment; filename="{name}"'
