"""Recordings that begin late, because nobody was there to start them."""

import os
import signal
import time

import pytest

from lab.ears import cut_out, level_dbfs
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.world import World
from tests.pbx.talks import ABSENT_DBFS, Talk, assert_hears, numbers
from tests.service import Service

FROZEN_S = 2.0


def test_a_late_start_is_a_gap_at_the_start(service: Service, world: World) -> None:
    """The file begins with silence, the lost start is a gap, and every sound is in its time."""
    (watcher,) = service.pids_of("watch")
    number = next(numbers)
    os.kill(watcher, signal.SIGSTOP)
    try:
        call = world.inbound(caller=number)
        call.leg("agent").await_up()
        time.sleep(FROZEN_S)
    finally:
        os.kill(watcher, signal.SIGCONT)
    talk = Talk(service, call, service.live_call(number)["id"])
    talk.talk_until(2)
    recording, rate, sides, _ = talk.end()
    (gap,) = recording["gaps"]
    assert (gap["from_s"], gap["cause"]) == (0, "not-captured")
    assert FROZEN_S < gap["to_s"] < FROZEN_S + 1.5
    assert recording["duration_s"] == pytest.approx(gap["to_s"] + 2, abs=0.5)
    for side, hz in ((sides[0], CUSTOMER_HZ), (sides[1], AGENT_HZ["2001"])):
        assert level_dbfs(cut_out(side, rate, 0, gap["to_s"] - 0.1), rate, hz) < ABSENT_DBFS
        assert_hears(cut_out(side, rate, gap["to_s"] + 0.2, gap["to_s"] + 1.5), rate, hz)
    assert all(party["spans"][0]["from_s"] < 0.1 for party in recording["parties"])
