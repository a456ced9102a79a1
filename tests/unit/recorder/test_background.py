"""A thread that lasts as long as a block."""

import threading

from recorder.background import running_in_background


def test_the_work_lasts_as_long_as_the_block() -> None:
    """The work runs beside the block, and has ended after it."""
    began, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        began.set()
        stop.wait()
        ended.set()

    with running_in_background(work, "test"):
        assert began.wait(5)
        assert not ended.is_set()
    assert ended.is_set()


def test_stubborn_work_keeps_nobody_waiting() -> None:
    """Work that does not look at its event is left behind after the given time."""
    release = threading.Event()
    with running_in_background(lambda _: release.wait(10), "test", join_s=0.01):
        pass
    assert "test" in {thread.name for thread in threading.enumerate()}
    release.set()
