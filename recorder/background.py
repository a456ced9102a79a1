"""Work that goes on in a thread for as long as a block lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def running_in_background(
    work: Callable[[threading.Event], object], name: str, *, join_s: float = 5.0
) -> Iterator[None]:
    """Run the work in a thread until the block ends; then set its event and wait for the thread.

    Wait no longer than `join_s`: the thread does not keep the process alive.

    Example: `with running_in_background(sender.run, "user-events-main"):`
    """
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=join_s)
