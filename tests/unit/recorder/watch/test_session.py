"""What the watcher does of itself, between the PBX and the call model."""

from types import SimpleNamespace

import pytest

from recorder.ari import AriUnavailable
from recorder.watch import session as watch


class _Silent:
    """A PBX that lists its channels, and then answers no more."""

    def list_channels(self) -> list[object]:
        """One, whose call is not told."""
        told = {"id": "1.0", "technology": "PJSIP", "variables": {}}
        return [SimpleNamespace(**told)]

    def list_bridges(self) -> list[object]:
        """None."""
        return []

    def find_variable(self, _channel_id: str, _name: str) -> str:
        """The linkedid, if it came."""
        raise AriUnavailable("no answer within 5 s")


def test_what_could_not_be_read_is_not_gone() -> None:
    """Where the PBX answers in part, the calls stay as they are, until it does answer."""
    session = object.__new__(watch._Session)
    session._ari = _Silent()  # type: ignore[assignment]
    session._model = SimpleNamespace(rebuild=lambda *_, **__: {"main-1.0"})  # type: ignore[assignment]
    session._dirty = set()
    with pytest.raises(AriUnavailable):
        session._rebuild(None)
    assert session._dirty == set()


def test_checks_outlive_a_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every five seconds means five seconds, whatever time of day it is told to be."""
    now = 100.0
    monkeypatch.setattr(watch.time, "monotonic", lambda: now)
    every = watch.Every(5.0)
    due = []
    for _ in range(6):
        due.append(every.is_due())
        now += 2.0
    assert due == [False, False, False, True, False, False]
