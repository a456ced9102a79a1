"""A process that ends by itself restarts, but not too often."""

from itertools import pairwise

import pytest

from earwitness import serve
from earwitness.serve import LONGEST_REST_S, Kept
from storage.objects.errors import StoreUnavailable


class Part:
    """A part that lives until the test ends it."""

    name = "part"

    def __init__(self) -> None:
        self.is_alive = True
        self.starts = True
        self.started = 0

    def start(self) -> None:
        """Live again, or fail."""
        self.started += 1
        if not self.starts:
            raise StoreUnavailable("no")
        self.is_alive = True


@pytest.fixture
def part() -> Part:
    """Return a live part."""
    return Part()


@pytest.fixture
def kept(part: Part, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Return the restarts of the part, from second 0 on."""
    monkeypatch.setattr(serve.time, "monotonic", lambda: 0.0)
    return Kept(part, "part.ended")


def test_a_live_part_is_not_started(part: Part, kept: Kept) -> None:
    """A live part is not started."""
    for now in range(100):
        kept.check(now)
    assert part.started == 0


def test_the_first_restart_comes_at_once(part: Part, kept: Kept) -> None:
    """The first restart comes at once."""
    part.is_alive = False
    kept.check(1.0)
    assert (part.started, part.is_alive) == (1, True)


def test_delays_between_restarts_double(part: Part, kept: Kept) -> None:
    """The times between restarts double, up to half a minute."""
    part.starts = part.is_alive = False
    started_at = []
    for tick in range(20 * 300):
        before = part.started
        kept.check(tick / 20)
        if part.started > before:
            started_at.append(tick / 20)
    rests = [after - before for before, after in pairwise(started_at)]
    assert rests[:5] == pytest.approx([1, 2, 4, 8, 16], abs=0.2)
    assert rests[5:] == pytest.approx([LONGEST_REST_S] * len(rests[5:]), abs=0.2)


def test_a_minute_of_life_resets_the_delay(part: Part, kept: Kept) -> None:
    """After a minute of life the next restart comes at once."""
    for now, started in ((1.0, 1), (2.0, 1), (3.0, 2), (4.0, 2), (6.0, 3), (100.0, 4)):
        if now not in {3.0, 6.0}:
            part.is_alive = False
        kept.check(now)
        assert part.started == started
