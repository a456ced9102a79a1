"""The steps that connect a supervisor to a call, in their order, on a PBX in memory."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from recorder import names
from recorder.spy.leftovers import Leftovers
from recorder.spy.listeners import listener_of
from recorder.spy.plan import SpyPlan
from recorder.spy.rig import Rig
from recorder.spy.settling import Settler
from storage.errors import LockTimeout
from storage.records import Heard, Mode, SpyRecord
from tests.fake_pbx import INSTANCE, FakePbx
from tests.legs import ZERO
from tests.spies import spy

SPY = spy(
    mode="whisper",
    destination="browser",
    seen_at=ZERO,
    heard=(Heard(ZERO, None, "main-1.0"),),
)
MICROPHONE, PHONE = names.build_microphone_id(SPY.id), names.build_phone_id(SPY.id)
BARGE = names.build_barge_channel_id(SPY.id)
SHARED = names.build_listening_channel_id(INSTANCE, "agent")
LISTENING = names.build_listening_bridge_id(INSTANCE, "agent")


class Bench:
    """A settler for one spy on a PBX in memory; something may happen before its lock is taken."""

    def __init__(self, *channels: str) -> None:
        self.pbx = FakePbx(*channels)
        self.before_lock: Callable[[], None] = lambda: None
        self.target: str | None = None
        self.known: frozenset[UUID] = frozenset()
        self.leftovers = Leftovers(
            self.pbx,  # type: ignore[arg-type]
            self.lock,
            self.find_needed,
            self.find_known,
        )
        self.heard: frozenset[str] = frozenset()
        self.settler = Settler(
            self.pbx,  # type: ignore[arg-type]
            self.lock,
            self.leftovers,
            lambda: self.heard,
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        before, self.before_lock = self.before_lock, lambda: None
        before()
        yield

    def find_needed(self) -> frozenset[str]:
        return frozenset(filter(None, [str(SPY.id), self.target]))

    def find_known(self, spy_ids: Collection[UUID]) -> frozenset[UUID]:
        return self.known.intersection(spy_ids)

    def connect(self, spy: SpyRecord, plan: SpyPlan) -> bool:
        """Connect the spy as planned; return whether the supervisor hears the target."""
        self.target = plan.target
        return self.settler.connect(listener_of(spy), plan)


def plan_for(target: str | None, *heard_by: str, company: str = "customer") -> SpyPlan:
    """Return the plan of a spy that listens to this target."""
    return SpyPlan("main-1.0", target, (company,), heard_by, party="agent")


def test_another_listener_takes_the_snoops_away() -> None:
    """A whisper is heard again after another spy's new snoop has cleared the target."""
    bench = Bench("agent", MICROPHONE, SHARED)
    assert bench.connect(SPY, plan_for("agent", "agent"))
    assert bench.pbx.heard_by(SPY.id) == {"agent"}

    def listen_in_new_company() -> None:
        rig = Rig(bench.pbx)  # type: ignore[arg-type]
        rig.listen("agent", listener_of(replace(SPY, mode="listen")), company=("other",))
        assert bench.pbx.heard_by(SPY.id) == set()

    bench.before_lock = listen_in_new_company
    assert bench.connect(SPY, plan_for("agent", "agent", company="other"))
    assert bench.pbx.heard_by(SPY.id) == {"agent"}


def test_the_voice_is_taken_away_before_anything_else() -> None:
    """After a barge the customer loses the voice even while the next target cannot be heard yet."""
    bench = Bench("agent", "customer", MICROPHONE, SHARED, BARGE)
    assert bench.connect(replace(SPY, mode="barge"), plan_for("agent", "agent", "customer"))
    assert bench.pbx.heard_by(SPY.id) == {"agent", "customer"}
    assert BARGE in bench.pbx.bridges[LISTENING]
    bench.pbx.channels.add("next")
    assert not bench.connect(SPY, plan_for("next", "next"))  # no page has opened its channel yet
    assert bench.pbx.heard_by(SPY.id) == set()
    assert BARGE not in bench.pbx.bridges[LISTENING]


def test_a_phone_stays_with_no_other_target() -> None:
    """When the next agent cannot be heard, the supervisor does not hear the one before either."""
    bench = Bench("agent", "customer", PHONE)
    barging = replace(SPY, mode="barge", destination="PJSIP/9001")
    assert bench.connect(barging, plan_for("agent", "agent", "customer"))
    assert PHONE in bench.pbx.bridges[LISTENING]
    assert bench.pbx.variables[PHONE, "VOLUME(RX)"] == "0"
    whispering = replace(barging, mode="whisper", heard=())
    assert not bench.connect(whispering, plan_for("gone", "gone"))
    assert bench.pbx.heard_by(SPY.id) == set()
    assert PHONE not in bench.pbx.bridges[LISTENING]


@pytest.mark.parametrize("mode", ["listen", "whisper"])
def test_a_phone_is_silent_among_the_listeners(mode: Mode) -> None:
    """Other supervisors hear a phone only while it barges."""
    bench = Bench("agent", PHONE)
    phone = replace(SPY, mode=mode, destination="PJSIP/9001")
    assert bench.connect(phone, plan_for("agent"))
    assert bench.pbx.variables[PHONE, "VOLUME(RX)"] == "-32767"


def snoops_on(pbx: FakePbx, channel: str) -> set[str]:
    """Return the snoops of spies on this channel."""
    parts = {id_: names.parse_spy_part(id_) for id_ in pbx.channels}
    return {id_ for id_, one in parts.items() if one and one.channel_id == channel}


def test_each_leg_gets_a_new_talking_snoop_in_new_company() -> None:
    """After a transfer no party keeps a talking snoop from before, of any supervisor."""
    bench = Bench("agent", "customer", "next", MICROPHONE, SHARED, PHONE)
    other = replace(SPY, id=UUID(int=8), mode="barge", destination="PJSIP/9001")
    bench.pbx.channels.add(names.build_phone_id(other.id))
    barging = replace(SPY, mode="barge")
    for one in (barging, other):
        assert bench.connect(one, plan_for("agent", "agent", "customer"))
    before = snoops_on(bench.pbx, "customer")
    assert len(before) == 2
    bench.pbx.hang_up("agent")
    bench.pbx.channels.add(names.build_listening_channel_id(INSTANCE, "next"))
    assert bench.connect(barging, plan_for("next", "next", "customer"))
    assert before.isdisjoint(bench.pbx.channels), "those of the other supervisor too"
    assert bench.connect(other, plan_for("next", "next", "customer"))
    assert len(snoops_on(bench.pbx, "customer")) == 2
    for one in (barging, other):
        assert bench.pbx.heard_by(one.id) == {"next", "customer"}
    after = snoops_on(bench.pbx, "customer")
    assert bench.connect(barging, plan_for("next", "next", "customer"))
    assert snoops_on(bench.pbx, "customer") == after, "nothing has changed"


def deaf(plan: SpyPlan) -> SpyPlan:
    """Return the same plan during a pause."""
    return replace(plan, deaf=True)


@pytest.mark.parametrize("barges", [False, True])
def test_a_deaf_phone_is_in_no_bridge(barges: bool) -> None:
    """In a pause a phone hears silence after one tone, and goes on whispering."""
    bench = Bench("agent", "customer", PHONE)
    phone = replace(SPY, destination="PJSIP/9001", live_at=ZERO)
    other = replace(SPY, id=UUID(int=8), mode="barge", destination="PJSIP/9001")
    if barges:
        bench.pbx.channels.add(names.build_phone_id(other.id))
        assert bench.connect(other, plan_for("agent", "agent", "customer"))
    assert bench.connect(phone, plan_for("agent", "agent"))
    assert PHONE in bench.pbx.bridges[LISTENING]
    bench.heard = frozenset({"agent"}) if barges else frozenset()
    assert not bench.connect(phone, deaf(plan_for("agent", "agent")))
    assert PHONE not in bench.pbx.bridges[LISTENING]
    assert bench.pbx.played == [(PHONE, "tone:660")]
    assert bench.pbx.silent == {PHONE}
    assert bench.pbx.heard_by(phone.id) == {"agent"}
    kinds = {names.parse_spy_part(one).kind for one in snoops_on(bench.pbx, "agent")}  # type: ignore[union-attr]
    assert kinds == {"talking-snoop"} | ({"listening-snoop"} if barges else set())
    assert not bench.connect(replace(phone, heard=()), deaf(plan_for("agent", "agent")))
    assert len(bench.pbx.played) == 1, "one tone for one pause"
    assert bench.connect(replace(phone, heard=()), plan_for("agent", "agent"))
    assert PHONE in bench.pbx.bridges[LISTENING]
    assert bench.pbx.silent == set()


def test_no_audio_of_a_pause_reaches_a_page() -> None:
    """In a pause the shared channel of the pages gets no frame, and nothing is measured."""
    ways = [names.build_meter_channel_id(INSTANCE, way, "agent") for way in names.WAYS]
    bench = Bench("agent", MICROPHONE, SHARED, *ways)
    listener = listener_of(SPY)
    assert bench.connect(SPY, plan_for("agent"))
    bench.settler.measure(listener, "agent")
    assert not bench.connect(SPY, deaf(plan_for("agent")))
    assert snoops_on(bench.pbx, "agent") == {SHARED, *ways}, "its own media channels alone"
    assert bench.pbx.played == []
    assert bench.connect(SPY, plan_for("agent"))
    bench.settler.measure(listener, "agent")
    assert len(snoops_on(bench.pbx, "agent")) == 6


def test_without_a_target_nothing_is_left() -> None:
    """While an agent has no call, the supervisor hears nothing and is heard by nobody."""
    bench = Bench("agent", MICROPHONE, SHARED)
    assert bench.connect(SPY, plan_for("agent", "agent"))
    assert not bench.connect(SPY, plan_for(None))
    assert bench.pbx.bridges == {}
    assert MICROPHONE in bench.pbx.channels, "until the page goes"


def test_disconnecting_leaves_nothing_of_the_spy() -> None:
    """An ended spy has no channel and no bridge on the PBX; the call keeps its own."""
    bench = Bench("agent", "customer", PHONE)
    barging = replace(SPY, mode="barge", destination="PJSIP/9001")
    assert bench.connect(barging, plan_for("agent", "agent", "customer"))
    bench.target = None
    bench.settler.disconnect(listener_of(barging))
    assert bench.pbx.bridges == {}
    assert bench.pbx.channels == {"agent", "customer"}


def test_meters_follow_the_channels_of_the_pages() -> None:
    """A way is measured while its meter channel is open; without it the meter is removed."""
    ways = [names.build_meter_channel_id(INSTANCE, way, "agent") for way in names.WAYS]
    bench = Bench("agent", *ways)
    listener = listener_of(SPY)
    bench.settler.measure(listener, "agent")
    for way, channel in zip(names.WAYS, ways, strict=True):
        inside = bench.pbx.bridges[names.build_meter_bridge_id(INSTANCE, way, "agent")]
        assert inside == [channel, names.build_meter_snoop_id(INSTANCE, way, "agent")]
    bench.pbx.hang_up(ways[0])
    bench.settler.measure(listener, "agent")
    assert list(bench.pbx.bridges) == [names.build_meter_bridge_id(INSTANCE, "out", "agent")]
    assert names.build_meter_snoop_id(INSTANCE, "in", "agent") not in bench.pbx.channels
    bench.pbx.channels.discard("agent")
    bench.pbx.channels.add(ways[0])
    bench.settler.measure(listener, "agent")  # the target is gone: that costs the levels alone


def test_a_held_lock_costs_the_levels_alone() -> None:
    """A supervisor hears the call although the meters cannot be connected in time."""
    bench = Bench(
        "agent", *(names.build_meter_channel_id(INSTANCE, way, "agent") for way in names.WAYS)
    )

    def time_out() -> None:
        raise LockTimeout("another process holds it")

    bench.before_lock = time_out
    bench.settler.measure(listener_of(SPY), "agent")
    assert bench.pbx.bridges == {}


def test_a_sweep_spares_needed_and_foreign_parts() -> None:
    """Parts of ended spies go; parts of live spies, of other instances and of calls stay."""
    over, theirs = UUID(int=9), UUID(int=10)
    left = {
        names.build_phone_id(over),
        names.build_talking_snoop_id(INSTANCE, over, "agent", ("agent",)),
        names.build_listening_channel_id(INSTANCE, "nobody"),
    }
    kept = {
        "agent",
        MICROPHONE,
        SHARED,
        names.build_snoop_id(UUID(int=3)),
        names.build_phone_id(theirs),
        names.build_talking_snoop_id("other", theirs, "agent", ("agent",)),
        names.build_listening_channel_id("other", "nobody"),
    }
    bench = Bench(*left, *kept)
    bench.target = "agent"
    bridges = {
        LISTENING: [SHARED],
        "call": ["agent"],
        names.build_talking_bridge_id(theirs): [names.build_phone_id(theirs)],
        names.build_listening_bridge_id("other", "nobody"): [],
    }
    bench.pbx.bridges = {
        **bridges,
        names.build_talking_bridge_id(over): [
            names.build_talking_snoop_id(INSTANCE, over, "agent", ("agent",))
        ],
        names.build_listening_bridge_id(INSTANCE, "nobody"): [],
    }
    bench.known = frozenset({over})
    bench.leftovers.sweep()
    assert bench.pbx.channels == kept
    assert bench.pbx.bridges == bridges


def test_an_unheard_bridge_is_dropped() -> None:
    """A listening bridge without a live spy goes with its channels, unless another instance's."""
    theirs = names.build_listening_channel_id("other", "agent")
    bench = Bench("agent", SHARED, theirs)
    bridges = {names.build_listening_bridge_id("other", "agent"): [theirs]}
    bench.pbx.bridges = {LISTENING: [SHARED], **bridges}
    bench.target = "agent"
    bench.leftovers.drop_unheard()
    assert SHARED in bench.pbx.bridges[LISTENING]
    bench.target = None
    bench.leftovers.drop_unheard()
    assert bench.pbx.bridges == bridges
    assert bench.pbx.channels == {"agent", theirs}


def test_new_company_leaves_the_snoops_of_other_instances() -> None:
    """A new listening snoop clears the target of our snoops alone."""
    theirs = names.build_talking_snoop_id("other", UUID(int=10), "agent", ("agent",))
    bench = Bench("agent", MICROPHONE, SHARED, theirs)
    bench.pbx.bridges = {names.build_talking_bridge_id(UUID(int=10)): [theirs]}
    assert bench.connect(SPY, plan_for("agent"))
    assert bench.connect(SPY, plan_for("agent", company="other"))
    assert theirs in bench.pbx.bridges[names.build_talking_bridge_id(UUID(int=10))]
