"""Supervisors whom nobody hears: their rows, events and tones."""

from uuid import UUID, uuid4

import pytest
from api_client import build_spy

from recorder import names
from recorder.ari import AriNotFound
from recorder.spy.reach import VoiceReach
from storage.catalogue import events, spies
from storage.catalogue.engine import Catalogue
from storage.records import Mode, SpyRecord
from tests.fake_pbx import FakePbx

LOOK_S = 0.3


class Bench:
    """A supervisor who talks to an agent, on a PBX in memory that counts packets."""

    def __init__(self, catalogue: Catalogue, *, destination: str = "PJSIP/9001") -> None:
        self.catalogue = catalogue
        self.pbx = FakePbx("agent")
        self.sent = 0
        self.now = 0.0
        self.told: list[str] = []
        name = f"reach{uuid4().hex[:8]}"
        self.spy = build_spy(pbx=name, mode="whisper", state="live", destination=destination)
        with catalogue.begin() as tx:
            self.began = events.newest_event_id(tx)
            spies.create_spy(tx, self.spy)
        self.pbx.get_rtp_sent = lambda _: self.sent  # type: ignore[attr-defined]
        snoop = names.build_talking_snoop_id(
            self.pbx.application, self.spy.id, "agent", ["agent", "customer"]
        )
        self.pbx.bridges[names.build_talking_bridge_id(self.spy.id)] = [snoop]
        self.reach = VoiceReach(
            catalogue,
            self.pbx,  # type: ignore[arg-type]
            name,
            self.told.append,
            lambda: self.now,
        )

    def look(self, times: int, *, packets: int = 0) -> bool:
        """Look so often, while so many packets flow from look to look; return `unheard`."""
        for _ in range(times):
            self.sent += packets
            self.now += LOOK_S
            assert self.reach.look(), "there is a spy"
        return self.find().unheard

    def find(self) -> SpyRecord:
        with self.catalogue.begin() as tx:
            return spies.get_spy(tx, self.spy.id)

    def switch(self, mode: Mode) -> None:
        with self.catalogue.begin() as tx:
            spies.set_mode(tx, self.spy.id, mode)

    def events(self) -> list[str]:
        with self.catalogue.begin() as tx:
            found = events.list_events(tx, self.began, 1000)
        return [one.type for one in found if one.data["id"] == str(self.spy.id)][1:]


def test_a_supervisor_whom_nobody_hears(catalogue: Catalogue) -> None:
    """When the packets to the agent stop, the row, an event and a tone say it within a second."""
    bench = Bench(catalogue)
    assert not bench.look(3, packets=15)
    assert bench.look(3)
    assert bench.events() == ["spy.unheard"]
    assert bench.told == [names.build_phone_id(bench.spy.id)]
    assert not bench.look(4, packets=15)
    assert bench.events() == ["spy.unheard", "spy.heard-again"]
    assert bench.look(3)
    assert len(bench.told) == 1, "not again within seconds"
    for _ in range(2):
        assert not bench.look(15, packets=15)
        assert bench.look(3)
        assert len(bench.told) == 2, "the next one in ten seconds"


def test_a_page_gets_no_tone(catalogue: Catalogue) -> None:
    """A page shows that nobody hears its supervisor; no phone rings."""
    bench = Bench(catalogue, destination="browser")
    assert bench.look(3)
    assert bench.told == []


def test_a_listening_supervisor_is_not_unheard(catalogue: Catalogue) -> None:
    """After a switch to listening nothing says that nobody hears the supervisor."""
    bench = Bench(catalogue)
    assert bench.look(3)
    bench.switch("listen")
    assert not bench.find().unheard
    assert not bench.look(4)
    bench.switch("barge")
    assert not bench.look(1)
    assert bench.look(3)
    with catalogue.begin() as tx:
        ended = spies.move_spy(
            tx, bench.spy.id, to="ended", ended_at=bench.spy.started_at, cause="ended"
        )
    assert ended is not None
    assert not ended.unheard
    assert not bench.reach.look()


@pytest.mark.parametrize("gone", ["bridge", "statistics"])
def test_an_unknown_flow_says_nothing(catalogue: Catalogue, gone: str) -> None:
    """Without a talking bridge, or without statistics, a spy is not unheard."""
    bench = Bench(catalogue)
    if gone == "bridge":
        bench.pbx.bridges.clear()
    else:

        def refuse(_: str) -> int:
            raise AriNotFound("no RTP")

        bench.pbx.get_rtp_sent = refuse  # type: ignore[attr-defined]
    assert not bench.look(4)


def test_two_writers_tell_once(catalogue: Catalogue) -> None:
    """A repeated note changes nothing and has no event."""
    bench = Bench(catalogue)
    for _ in range(2):
        with catalogue.begin() as tx:
            assert spies.set_unheard(tx, bench.spy.id, unheard=True) is not None
    assert bench.events() == ["spy.unheard"]
    with catalogue.begin() as tx:
        assert spies.set_unheard(tx, UUID(int=1), unheard=True) is None
