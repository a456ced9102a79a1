"""The repeated checks submit their work to the lanes for as long as it is needed."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.errors import PbxUnavailable
from recorder.watch.checks import Checks
from recorder.watch.lanes import Lanes


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Yield lanes that are closed after the test."""
    made = Lanes("test")
    yield made
    made.close()


def test_spies_are_checked_until_a_check_succeeds(
    monkeypatch: pytest.MonkeyPatch, lanes: Lanes
) -> None:
    """After the last spy has ended, a check is repeated that failed or found an intruder."""
    monkeypatch.setattr("recorder.watch.checks.spies.list_live_spies", lambda *_: ())
    checked: list[str] = []

    def check(pbx: str) -> bool:
        checked.append(pbx)
        if len(checked) == 1:
            raise PbxUnavailable("no answer")
        return len(checked) == 2

    unused: Any = None
    fakes: dict[str, Any] = {
        "catalogue": SimpleNamespace(begin=nullcontext),
        "spies": SimpleNamespace(check=check),
    }
    checks = Checks(
        pbx="main",
        lanes=lanes,
        key_of_recording=unused,
        capture=unused,
        dialler=unused,
        beeps=unused,
        is_alive=unused,
        resume_after_s=0,
        **fakes,
    )
    for _ in range(5):
        checks.check_spies()
        done = threading.Event()
        lanes.submit("main", done.set)
        assert done.wait(5)
    assert checked == ["main"] * 3
