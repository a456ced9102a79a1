"""What the PBX is brought to, in which order, on a PBX that is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from recorder import names
from recorder.ari import AriNotFound, Bridge
from recorder.ari.pbxs import Pbxs
from recorder.errors import PbxUnavailable
from recorder.spy.plan import SpyPlan
from recorder.spy.rig import Rig
from recorder.spy.spies import Spies
from storage.records import Heard, SpyRecord
from tests.legs import ZERO

SPY = SpyRecord(
    id=UUID(int=7),
    call_id="main-1.0",
    pbx="main",
    mode="whisper",
    destination="browser",
    state="live",
    supervisor="sue",
    follow="call",
    started_at=ZERO,
    seen_at=ZERO,
    may=("listen", "whisper", "barge"),
    heard=(Heard(ZERO, None, "main-1.0"),),
)
MIC, PHONE = names.build_microphone_id(SPY.id), names.build_phone_id(SPY.id)
VOICE = names.build_talking_bridge_id(SPY.id)


class Pbx:
    """Channels, and bridges with what is in them; a snoop needs its channel."""

    application = "earwitness"

    def __init__(self, *channels: str) -> None:
        self.channels = set(channels)
        self.bridges: dict[str, list[str]] = {}

    def find_channel(self, id_: str) -> Any:
        plan = SimpleNamespace(app_name="Stasis", app_data=self.application)
        up = SimpleNamespace(id=id_, state="Up", dialplan=plan)
        return up if id_ in self.channels else None

    def get_channel(self, id_: str) -> Any:
        if id_ not in self.channels:
            raise AriNotFound(f"no channel {id_}")
        return self.find_channel(id_)

    def snoop(self, channel_id: str, *, snoop_id: str, **_: str) -> None:
        self.get_channel(channel_id)
        self.channels.add(snoop_id)

    def hang_up(self, id_: str) -> None:
        self.channels.discard(id_)
        for there in self.bridges.values():
            there[:] = [one for one in there if one != id_]

    def set_variable(self, id_: str, *_: str) -> None:
        self.get_channel(id_)

    def find_bridge(self, id_: str) -> Bridge | None:
        there = self.bridges.get(id_)
        return Bridge(id_, "mixing", "", tuple(there)) if there is not None else None

    def list_bridges(self) -> list[Bridge]:
        return [Bridge(id_, "mixing", "", tuple(there)) for id_, there in self.bridges.items()]

    def create_bridge(self, *, bridge_id: str) -> Bridge:
        return Bridge(bridge_id, "mixing", "", tuple(self.bridges.setdefault(bridge_id, [])))

    def destroy_bridge(self, id_: str) -> None:
        self.bridges.pop(id_, None)

    def add_to_bridge(self, id_: str, *channel_ids: str, **_: bool) -> None:
        for one in channel_ids:
            self.get_channel(one)
            for there in self.bridges.values():
                there[:] = [other for other in there if other != one]
            self.bridges[id_].append(one)

    def remove_from_bridge(self, id_: str, channel_id: str) -> None:
        if channel_id not in self.bridges.get(id_, ()):
            raise AriNotFound(f"{channel_id} is not in {id_}")
        self.bridges[id_].remove(channel_id)

    def hears(self, *, of: SpyRecord = SPY) -> set[str]:
        """The legs that hear the supervisor."""
        says = names.build_talking_snoop_id(of.id, "")
        there = self.bridges.get(names.build_talking_bridge_id(of.id), ())
        return {id_.removeprefix(says) for id_ in there if id_.startswith(says)}


class Locks:
    """A catalogue that knows locks; something may happen before one is had."""

    def __init__(self) -> None:
        self.before: dict[str, Callable[[], object]] = {}

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        self.before.pop(name, lambda: None)()
        yield


class Bench(Spies):
    """Spies whose one spy and plan are given."""

    def __init__(self, pbx: Pbx, spy: SpyRecord, plan: SpyPlan) -> None:
        self.locks = Locks()
        super().__init__(self.locks, Pbxs({"main": pbx}), {})  # type: ignore[arg-type,dict-item]
        self.spy, self.plan = spy, plan

    def read(self, _: UUID) -> tuple[SpyRecord, SpyPlan]:
        return self.spy, self.plan

    def _note_live(self, *_: Any, **__: Any) -> None:
        pass

    def _settle_recordings(self, _: SpyRecord) -> None:
        pass

    def _needed(self, _: str) -> frozenset[str]:
        return frozenset(filter(None, [str(self.spy.id), self.plan.target]))


def test_another_listener_takes_the_snoops_away() -> None:
    """Who whispers is heard though another spy's new snoop, meanwhile, cleared the target."""
    pbx = Pbx("agent", MIC, names.build_listening_channel_id("agent"))
    plan = SpyPlan("main-1.0", "agent", ("customer",), ("agent",), party="agent")
    spies = Bench(pbx, SPY, plan)
    spies.settle(SPY.id)
    assert pbx.hears() == {"agent"}

    def listen_in_new_company() -> None:
        ear = names.build_listening_channel_id("agent")
        rig = Rig(pbx)  # type: ignore[arg-type]
        rig.listen("agent", ear, company=("other",), audible=False, is_phone=False)
        assert pbx.hears() == set()

    spies.plan = SpyPlan("main-1.0", "agent", ("other",), ("agent",), party="agent")
    spies.locks.before["listen main"] = listen_in_new_company
    spies.settle(SPY.id)
    assert pbx.hears() == {"agent"}


def test_a_voice_waits_for_no_ear() -> None:
    """Who no longer barges is heard by no customer, though what is to be heard cannot be had."""
    pbx = Pbx(
        "agent",
        "customer",
        MIC,
        names.build_listening_channel_id("agent"),
        names.build_barge_channel_id(SPY.id),
    )
    both = SpyPlan("main-1.0", "agent", ("customer",), ("agent", "customer"), party="agent")
    spies = Bench(pbx, replace(SPY, mode="barge"), both)
    spies.settle(SPY.id)
    assert pbx.hears() == {"agent", "customer"}
    assert (
        names.build_barge_channel_id(SPY.id)
        in pbx.bridges[names.build_listening_bridge_id("agent")]
    )
    spies.spy = SPY
    spies.plan = SpyPlan("main-1.0", "next", ("customer",), ("next",), party="agent")
    pbx.channels.add("next")
    spies.settle(SPY.id)  # no page has made its ear yet
    assert pbx.hears() == set()
    assert (
        names.build_barge_channel_id(SPY.id)
        not in pbx.bridges[names.build_listening_bridge_id("agent")]
    )


def test_a_phone_is_left_at_nobody_else() -> None:
    """Where the next agent cannot be heard, the one before is not heard any more either."""
    pbx = Pbx("agent", "customer", PHONE)
    barging = replace(SPY, mode="barge", destination="PJSIP/9001")
    both = SpyPlan("main-1.0", "agent", ("customer",), ("agent", "customer"), party="agent")
    spies = Bench(pbx, barging, both)
    spies.settle(SPY.id)
    assert PHONE in pbx.bridges[names.build_listening_bridge_id("agent")]
    spies.spy = replace(barging, mode="whisper", heard=())
    spies.plan = SpyPlan("main-1.0", "gone", ("customer",), ("gone",), party="agent")
    spies.settle(SPY.id)
    assert pbx.hears() == set()
    assert PHONE not in pbx.bridges[names.build_listening_bridge_id("agent")]


class Checked(Bench):
    """Two spies that are not as they should be; the first cannot be brought to it."""

    def __init__(self) -> None:
        here = replace(SPY, seen_at=datetime.now(UTC))
        super().__init__(Pbx(), here, SpyPlan("main-1.0", "agent"))
        self.done: list[object] = []

    def _live(self, _: str) -> tuple[SpyRecord, ...]:
        return self.spy, replace(self.spy, id=UUID(int=8))

    def settle(self, spy_id: UUID) -> SpyRecord:
        if spy_id == self.spy.id:
            raise PbxUnavailable("no answer")
        self.done.append(spy_id)
        return self.spy

    def sweep(self, pbx: str) -> None:
        self.done.append(pbx)


def test_a_spy_that_fails_hinders_no_other() -> None:
    """The check goes on to the next one, and to what nobody needs any more."""
    spies = Checked()
    spies.check("main")
    assert spies.done == [UUID(int=8), "main"]
