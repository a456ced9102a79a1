"""Campaigns on a PBX in memory: steps, obstacles, races, and processes that die in between."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from racing import waits_for_a_lock
from sqlalchemy import delete, select, text, update

from lab.waiting import until
from recorder.ari.pbxs import Pbxs
from recorder.dialling.campaigns import Campaigns, CampaignTerms
from recorder.dialling.dialler import Dialler, DialRequest, DialSettings
from recorder.dialling.numbers import DialPolicy
from recorder.errors import (
    BadDestination,
    CampaignNotReady,
    ListInvalid,
    NothingReserved,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
)
from storage.catalogue import calls, campaigns, dials, do_not_call, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import NoSuchCampaign, NoSuchCampaignAgent
from storage.records import (
    CallRecord,
    CampaignAgent,
    CampaignEntry,
    CampaignRecord,
    DialRecord,
    Hours,
    LegRecord,
)
from storage.schema import audit, campaign_agent, campaign_entry, event, token
from tests.actors import ANN
from tests.fake_pbx import FakePbx

ALWAYS = Hours(0, 24, (1, 2, 3, 4, 5, 6, 7))
NUMBERS = iter(range(2_025_560_100, 2_025_569_900))
TALKED = {"answered_at": datetime.now(UTC), "talked_at": datetime.now(UTC)}
DIALLED = {"answered_at": datetime.now(UTC)}


class Killed(BaseException):
    """The end of a process: no handler of an error runs."""


class Phones(FakePbx):
    """A PBX whose phones ring, and whose process or ours may die."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: BaseException | None = None
        self.members = ""
        self.hung_up: list[str] = []

    def originate(self, endpoint: str, *, channel_id: str, **more: Any) -> None:
        if self.fault is not None:
            raise self.fault
        super().originate(endpoint, channel_id=channel_id, **more)

    def hang_up(self, id_: str) -> None:
        self.hung_up.append(id_)
        super().hang_up(id_)

    def create_channel(self, endpoint: str, *, channel_id: str, other_id: str) -> None:
        """Create a channel that nobody dials."""
        assert endpoint.startswith("Local/")
        self.channels.add(channel_id)

    def get_variable(self, channel_id: str, name: str) -> str:
        """Return the members of a queue."""
        assert channel_id in self.channels
        assert name == "QUEUE_MEMBER_LIST(sales)"
        return self.members


class DyingDialler(Dialler):
    """A dialler in whose process a call may be the last one."""

    fault: BaseException | None = None

    def dial(self, request: DialRequest, **more: Any) -> DialRecord:
        """Dial, or die before."""
        if self.fault is not None:
            raise self.fault
        return super().dial(request, **more)


class World:
    """Campaigns, and the PBX on which they ring."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.pbx = Phones()
        pbxs = Pbxs({"main": self.pbx})  # type: ignore[dict-item]
        settings = {"main": DialSettings("out", trunks=("PJSIP/trunk*",))}
        self.dialler = DyingDialler(catalogue, pbxs, settings, DialPolicy(refused=("+44",)))
        self.campaigns = Campaigns(catalogue, pbxs, self.dialler, {"main": "US"})
        self.owner_id = self.make_owner("admin")

    def make_owner(self, role: Any, **more: Any) -> UUID:
        """Make a token with a name of its own."""
        with self.catalogue.begin() as tx:
            return tokens.create_token(tx, name=uuid4().hex, role=role, **more)[0].id

    def create(self, agents: int = 2, **terms: Any) -> CampaignRecord:
        """Create a campaign with new agents."""
        phones = tuple(f"PJSIP/{uuid4().hex[:8]}" for _ in range(agents))
        self.pbx.endpoints |= set(phones)
        usual: dict[str, Any] = {
            "name": "spring",
            "pbx": "main",
            "mode": "progressive",
            "hours": ALWAYS,
            "retry_after_s": (900,),
            "phones": phones,
            "wrap_up_s": 0,
        }
        return self.campaigns.create(CampaignTerms(**usual | terms), by=ANN, owner_id=self.owner_id)

    def start(self, lines: int = 3, **terms: Any) -> CampaignRecord:
        """Start a campaign with this many numbers, and all of its agents ready."""
        made = self.create(**terms)
        listed = "".join(f"{next(NUMBERS)},c{one}\n" for one in range(lines))
        self.campaigns.replace_list(made.id, b"number,name\n" + listed.encode(), by=ANN)
        for agent in made.agents:
            self.campaigns.set_ready(made.id, agent, ready=True, by=ANN)
        return self.campaigns.start(made.id, by=ANN, owner_id=self.owner_id)

    def step(self, record: CampaignRecord) -> Counter[str]:
        """Take a step, and count the entries by state."""
        self.campaigns.step(record.id)
        return self.count(record)

    def count(self, record: CampaignRecord) -> Counter[str]:
        """Count the entries by state."""
        return Counter(one.state for one in self.entries(record))

    def entries(self, record: CampaignRecord) -> tuple[CampaignEntry, ...]:
        """Return the entries in the order of the list."""
        with self.catalogue.begin() as tx:
            return campaigns.list_entries(tx, record.id, limit=1000).items

    def agents(self, record: CampaignRecord) -> tuple[CampaignAgent, ...]:
        """Return the agents."""
        with self.catalogue.begin() as tx:
            return campaigns.list_agents(tx, record.id)

    def get(self, record: CampaignRecord) -> CampaignRecord:
        """Return the campaign as it is now."""
        with self.catalogue.begin() as tx:
            return campaigns.get_campaign(tx, record.id)

    def dials(self, record: CampaignRecord, *, live: bool = True) -> list[DialRecord]:
        """Return the live calls of a campaign, or all of them, oldest first."""
        with self.catalogue.begin() as tx:
            found = dials.list_dials(tx, campaign_id=record.id)[::-1]
        return [one for one in found if one.state != "ended" or not live]

    def end(self, one: DialRecord, cause: Any, **columns: Any) -> None:
        """End a call, and free its phone."""
        with self.catalogue.begin() as tx:
            assert dials.move_dial(tx, one.id, to="ended", cause=cause, **columns) is not None
            calls.end_unseen_call(tx, one.call_id, datetime.now(UTC))

    def make_due(self, record: CampaignRecord) -> None:
        """Let the waiting entries and the resting agents be due."""
        mine = campaign_entry.c.campaign_id == record.id
        due = datetime.now(UTC) - timedelta(seconds=1)
        waits = campaign_entry.c.state == "waiting"
        with self.catalogue.begin() as tx:
            tx.execute(update(campaign_entry).where(mine, waits).values(next_at=due))
            theirs = campaign_agent.c.campaign_id == record.id
            tx.execute(update(campaign_agent).where(theirs).values(ready_at=None))

    def count_jobs(self, record: CampaignRecord) -> int:
        """Return the number of steps that wait."""
        query = text(
            "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'"
            " AND task_name = 'campaign_step' AND args ->> 'campaign_id' = :id"
        )
        with self.catalogue.begin() as tx:
            return int(tx.scalar(query, {"id": str(record.id)}) or 0)

    def drop_jobs(self) -> None:
        """Lose every job."""
        with self.catalogue.begin() as tx:
            tx.execute(text("DELETE FROM procrastinate_jobs"))


@pytest.fixture(scope="module")
def world(catalogue: Catalogue) -> World:
    """Return campaigns on a PBX in memory."""
    return World(catalogue)


@pytest.fixture(autouse=True)
def _mend(world: World) -> None:
    world.pbx.fault = world.dialler.fault = None


# Steps


def test_a_step_dials_one_number_for_each_ready_agent(world: World) -> None:
    """Two agents get two of three numbers; another step dials nothing more."""
    running = world.start(lines=3, agents=2)
    assert world.step(running) == {"dialling": 2, "waiting": 1}
    assert world.step(running) == {"dialling": 2, "waiting": 1}
    made = world.dials(running)
    assert {one.agent for one in made} == set(running.agents)
    assert [one.number for one in made] == [one.number for one in world.entries(running)[:2]]
    assert {one.state for one in world.agents(running)} == {"reserved"}


def test_a_call_says_why_it_was_allowed(world: World) -> None:
    """The row of each call has the hours, the zones, the consent, the attempt and the prefix."""
    made = world.create(agents=1)
    listed = b"Number;Consent\n202 555 0123;by form\n"
    world.campaigns.replace_list(made.id, listed, by=ANN)
    world.campaigns.set_ready(made.id, made.agents[0], ready=True, by=ANN)
    running = world.campaigns.start(made.id, by=ANN, owner_id=world.owner_id)
    world.step(running)
    (dialled,) = world.dials(running)
    allowed = dialled.allowed_by
    assert dialled.number == "+12025550123"
    assert allowed["consent"] == "by form"
    assert allowed["prefix"] == "any"
    assert (allowed["attempt"], allowed["most_attempts"]) == (1, 2)
    assert allowed["hours"]["to_hour"] == 24
    assert set(allowed["local_times"]) == {"America/New_York"}


def test_an_ended_call_gives_its_entry_a_state_and_its_agent_the_next_number(
    world: World,
) -> None:
    """A talk is done, a busy number waits for its next attempt, and both agents go on."""
    running = world.start(lines=4, agents=2)
    world.step(running)
    first, second = world.dials(running)
    world.end(first, "ended", **TALKED)
    world.end(second, "busy", **DIALLED)
    assert world.count_jobs(running) >= 1
    assert world.step(running) == {"done": 1, "waiting": 1, "dialling": 2}
    done, waits = world.entries(running)[:2]
    assert (done.cause, done.attempts, done.agent) == ("ended", 1, first.agent)
    assert (waits.cause, waits.attempts) == ("busy", 1)
    assert waits.next_at is not None
    assert waits.next_at > datetime.now(UTC) + timedelta(seconds=600)


def test_a_result_counts_once(world: World) -> None:
    """Several steps after one call count one attempt."""
    running = world.start(lines=1, agents=1, retry_after_s=(900, 900))
    world.step(running)
    world.end(world.dials(running)[0], "busy", **DIALLED)
    for _ in range(3):
        world.step(running)
    assert world.entries(running)[0].attempts == 1


def test_the_plan_of_attempts_is_kept(world: World) -> None:
    """After its last attempt a number is exhausted, and the campaign is done."""
    running = world.start(lines=1, agents=1)
    for _ in range(2):
        world.step(running)
        world.end(world.dials(running)[0], "no-answer", **DIALLED)
        world.step(running)
        world.make_due(running)
    assert world.count(running) == {"exhausted": 1}
    assert world.get(running).state == "done"
    assert len(world.dials(running, live=False)) == 2


def test_an_agent_who_does_not_answer_is_away_and_the_entry_waits(world: World) -> None:
    """The entry goes to another agent and has used up no attempt."""
    running = world.start(lines=1, agents=2)
    world.step(running)
    first = world.dials(running)[0]
    world.end(first, "agent-no-answer")
    world.step(running)
    second = world.dials(running)[0]
    assert (second.entry_id, second.agent != first.agent) == (first.entry_id, True)
    assert world.entries(running)[0].attempts == 0
    states = {one.agent: one.state for one in world.agents(running)}
    assert states[str(first.agent)] == "away"


def test_an_agent_wraps_up_before_the_next_call(world: World) -> None:
    """After a talk the agent gets the next number only once the wrap-up is over."""
    running = world.start(lines=2, agents=1, wrap_up_s=60)
    world.step(running)
    world.end(world.dials(running)[0], "ended", **TALKED)
    assert world.step(running) == {"done": 1, "waiting": 1}
    world.make_due(running)
    assert world.step(running) == {"done": 1, "dialling": 1}


def test_an_agent_in_a_call_is_not_ready(world: World) -> None:
    """An agent whose phone is in a live call gets no number."""
    running = world.start(lines=1, agents=1)
    now = datetime.now(UTC)
    name = f"PJSIP/{running.agents[0]}-00000001"
    leg = LegRecord(id="9.1", name=name, state="Up", party="agent", created_at=now)
    other = CallRecord(f"main-{uuid4()}", "main", "up", "internal", now, channels=(leg,))
    with world.catalogue.begin() as tx:
        calls.save_calls(tx, [other])
    assert world.step(running) == {"waiting": 1}


def test_a_listed_number_is_refused_at_its_time(world: World) -> None:
    """A number that was put on the do-not-call list after the import is never dialled."""
    running = world.start(lines=2, agents=1)
    listed = str(world.entries(running)[0].number)
    with world.catalogue.begin() as tx:
        do_not_call.add(tx, listed, "asked", by="ann")
    assert world.step(running) == {"refused": 1, "dialling": 1}
    assert world.entries(running)[0].cause == "do-not-call"
    assert [one.number for one in world.dials(running)] != [listed]


def test_a_refused_number_does_not_free_the_agent_who_called_it_before(world: World) -> None:
    """The agent of an earlier attempt is in another call by then, and stays reserved for it."""
    running = world.start(lines=2, agents=2)
    first, second = running.agents
    world.campaigns.set_ready(running.id, second, ready=False, by=ANN)
    world.step(running)
    world.end(world.dials(running)[0], "busy", **DIALLED)
    world.step(running)
    assert [one.agent for one in world.dials(running)] == [first]
    with world.catalogue.begin() as tx:
        do_not_call.add(tx, str(world.entries(running)[0].number), "asked", by="ann")
    world.make_due(running)
    world.campaigns.set_ready(running.id, second, ready=True, by=ANN)
    assert world.step(running) == {"refused": 1, "dialling": 1}
    states = {one.agent: one.state for one in world.agents(running)}
    assert states == {first: "reserved", second: "ready"}


def test_many_refused_numbers_do_not_stop_a_campaign(world: World) -> None:
    """A step looks behind a long row of listed numbers."""
    running = world.start(lines=60, agents=1)
    with world.catalogue.begin() as tx:
        listed = {str(one.number): "asked" for one in world.entries(running)[:59]}
        do_not_call.add_many(tx, listed, by="ann")
    assert world.step(running) == {"refused": 59, "dialling": 1}


def test_nothing_is_dialled_outside_the_hours(world: World) -> None:
    """A number waits while one of its zones is outside the hours."""
    local_hour = datetime.now(UTC).hour
    far_off = Hours((local_hour + 12) % 23, (local_hour + 12) % 23 + 1, ALWAYS.weekdays)
    running = world.start(lines=1, agents=1, hours=far_off)
    entry = world.entries(running)[0]
    with world.catalogue.begin() as tx:
        mine = campaign_entry.c.id == entry.id
        tx.execute(update(campaign_entry).where(mine).values(zones=["UTC"]))
    assert world.step(running) == {"waiting": 1}


def test_a_lost_wake_up_is_found_by_the_sweep(world: World) -> None:
    """The sweep asks for a step of a running campaign, and of none that waits for nothing."""
    running, draft = world.start(lines=1, agents=1), world.create()
    world.drop_jobs()
    world.campaigns.sweep()
    world.campaigns.sweep()
    assert (world.count_jobs(running), world.count_jobs(draft)) == (1, 0)


# Obstacles


def test_a_busy_phone_gives_its_number_back(world: World) -> None:
    """A phone that rings for another call gets none, and the entry waits."""
    running = world.start(lines=1, agents=1)
    taken = DialRequest("main", f"PJSIP/{running.agents[0]}", str(next(NUMBERS)))
    other = world.dialler.dial(taken, by=ANN, owner_id=None)
    assert world.step(running) == {"waiting": 1}
    world.end(other, "cancelled")
    world.make_due(running)
    assert world.step(running) == {"dialling": 1}


def test_a_phone_that_the_pbx_does_not_know_makes_its_agent_away(world: World) -> None:
    """Another agent gets the number."""
    running = world.start(lines=1, agents=2)
    world.pbx.endpoints.discard(f"PJSIP/{world.agents(running)[0].agent}")
    world.step(running)
    world.step(running)
    assert world.count(running) == {"dialling": 1}
    assert sorted(one.state for one in world.agents(running)) == ["away", "reserved"]


def test_a_number_that_is_refused_by_prefix_is_never_dialled(world: World) -> None:
    """The prefix may have been refused after the import."""
    running = world.start(lines=1, agents=1)
    with world.catalogue.begin() as tx:
        mine = campaign_entry.c.campaign_id == running.id
        tx.execute(update(campaign_entry).where(mine).values(number="+442079460018"))
    assert world.step(running) == {"refused": 1}
    assert world.entries(running)[0].cause == "number-refused"
    assert not world.dials(running, live=False)


def test_a_pbx_that_does_not_answer_loses_no_number(world: World) -> None:
    """Entries wait, use up no attempt, and are dialled when the PBX is back."""
    running = world.start(lines=2, agents=2)
    world.pbx.fault = PbxUnavailable("no answer")
    world.step(running)
    world.step(running)
    assert not world.dials(running)
    world.pbx.fault = None
    assert world.step(running) == {"waiting": 2}, "the faults are counted, and it waits"
    world.make_due(running)
    assert world.step(running) == {"dialling": 2}
    assert {one.attempts for one in world.entries(running)} == {0}


def test_the_members_of_a_queue_are_agents(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are ready; who leaves the queue is no agent; other kinds of members are not."""
    monkeypatch.setattr("recorder.dialling.campaigns.QUEUE_EVERY_S", 0)
    phones = [f"PJSIP/{uuid4().hex[:8]}" for _ in range(2)]
    world.pbx.endpoints |= set(phones)
    world.pbx.members = f"{phones[0]},{phones[1]},Local/5@agents/n"
    running = world.start(lines=2, agents=0, queue="sales")
    assert world.step(running) == {"dialling": 2}
    assert {one.phone for one in world.agents(running)} == set(phones)
    world.pbx.members = phones[0]
    world.step(running)
    assert len(world.agents(running)) == 2, "an agent in a call stays until its end"
    for one in world.dials(running):
        world.end(one, "busy", **DIALLED)
    world.step(running)
    world.step(running)
    assert [one.phone for one in world.agents(running)] == phones[:1]
    assert not [one for one in world.pbx.channels if "-ask-" in one]


# Rights


def test_a_campaign_pauses_when_its_owner_is_gone(world: World) -> None:
    """The right of the owner is asked again at each step."""
    running = world.start(lines=1, agents=1)
    owner_id = world.make_owner("admin")
    world.campaigns.pause(running.id, by=ANN)
    world.campaigns.start(running.id, by=ANN, owner_id=owner_id)
    with world.catalogue.begin() as tx:
        tx.execute(delete(token).where(token.c.id == owner_id))
    assert world.step(running) == {"waiting": 1}
    assert (world.get(running).state, world.get(running).cause) == ("paused", "not-permitted")


def test_a_campaign_pauses_when_an_agent_leaves_the_team_of_its_owner(world: World) -> None:
    """A supervisor dials with the agents of the team alone."""
    running = world.start(lines=1, agents=1)
    owner_id = world.make_owner("admin")
    world.campaigns.pause(running.id, by=ANN)
    world.campaigns.start(running.id, by=ANN, owner_id=owner_id)
    with world.catalogue.begin() as tx:
        narrower = {"role": "supervisor", "team": "north"}
        tx.execute(update(token).where(token.c.id == owner_id).values(narrower))
    world.step(running)
    assert world.get(running).cause == "not-permitted"


@pytest.mark.parametrize("step", ["create", "start"])
def test_a_campaign_waits_for_the_withdrawal(world: World, step: str) -> None:
    """A campaign that is made or started while its token is being revoked is refused."""
    paused = world.start(lines=1, agents=1)
    world.campaigns.pause(paused.id, by=ANN)
    owner_id = world.make_owner("admin")
    terms = CampaignTerms(name="late", pbx="main", mode="preview")

    def act() -> CampaignRecord:
        if step == "create":
            return world.campaigns.create(terms, by=ANN, owner_id=owner_id)
        return world.campaigns.start(paused.id, by=ANN, owner_id=owner_id)

    with ThreadPoolExecutor(1) as pool:
        with world.catalogue.begin() as tx:
            tokens.revoke_token(tx, owner_id)
            acted = pool.submit(act)
            until(lambda: waits_for_a_lock(tx))
        with pytest.raises(PhoneNotPermitted):
            acted.result(30)
    assert world.get(paused).state == "paused"


def test_nobody_starts_a_campaign_with_agents_of_others(world: World) -> None:
    """A supervisor of another team cannot resume a campaign, and it stays paused."""
    running = world.start(lines=1, agents=1)
    world.campaigns.pause(running.id, by=ANN)
    owner_id = world.make_owner("supervisor", team="north")
    with pytest.raises(PhoneNotPermitted):
        world.campaigns.start(running.id, by=ANN, owner_id=owner_id)
    assert world.get(running).state == "paused"


# Start, pause, stop


def test_a_paused_campaign_dials_nothing_and_counts_on(world: World) -> None:
    """Calls go on and are counted; after resuming, the next number is dialled."""
    running = world.start(lines=2, agents=1)
    world.step(running)
    world.campaigns.pause(running.id, by=ANN)
    world.end(world.dials(running)[0], "ended", **TALKED)
    assert world.step(running) == {"done": 1, "waiting": 1}
    world.campaigns.start(running.id, by=ANN, owner_id=world.owner_id)
    assert world.step(running) == {"done": 1, "dialling": 1}


def test_a_stop_hangs_up_what_rings_and_leaves_talks(world: World) -> None:
    """The call without a talk ends at once, the talk goes on, and nothing is dialled any more."""
    running = world.start(lines=3, agents=2)
    world.step(running)
    talks, rings = world.dials(running)
    with world.catalogue.begin() as tx:
        assert dials.move_dial(tx, talks.id, to="up", **TALKED) is not None
    world.campaigns.stop(running.id, by=ANN)
    assert [one.id for one in world.dials(running)] == [talks.id]
    assert any(str(rings.id) in one for one in world.pbx.hung_up)
    assert world.step(running) == {"dialling": 1, "waiting": 2}
    world.end(talks, "ended")
    assert world.step(running) == {"done": 1, "waiting": 2}
    with pytest.raises(CampaignNotReady):
        world.campaigns.start(running.id, by=ANN, owner_id=world.owner_id)


def test_a_stop_while_a_phone_is_asked_to_ring_hangs_it_up(world: World) -> None:
    """The row ends before the phone rings, and the phone is hung up too."""
    running = world.start(lines=1, agents=1)
    original = world.pbx.originate

    def originate(endpoint: str, *, channel_id: str, **more: Any) -> None:
        world.campaigns.stop(running.id, by=ANN)
        original(endpoint, channel_id=channel_id, **more)

    world.pbx.originate = originate  # type: ignore[method-assign]
    try:
        world.step(running)
    finally:
        world.pbx.originate = original  # type: ignore[method-assign]
    assert not world.dials(running)
    (dialled,) = world.dials(running, live=False)
    assert not [one for one in world.pbx.channels if str(dialled.id) in one]


def test_a_campaign_without_numbers_does_not_start(world: World) -> None:
    """A draft needs a list with a number to dial."""
    made = world.create()
    with pytest.raises(CampaignNotReady):
        world.campaigns.start(made.id, by=ANN, owner_id=world.owner_id)


def test_a_running_campaign_is_not_deleted(world: World) -> None:
    """Stop it first; then it is gone with its list, and its steps do nothing."""
    running = world.start(lines=1, agents=1)
    with pytest.raises(CampaignNotReady):
        world.campaigns.delete(running.id, by=ANN)
    world.campaigns.stop(running.id, by=ANN)
    world.step(running)
    world.campaigns.delete(running.id, by=ANN)
    world.campaigns.step(running.id)
    with pytest.raises(NoSuchCampaign):
        world.get(running)


def test_a_campaign_needs_phones(world: World) -> None:
    """A dial string that is no phone is refused."""
    with pytest.raises(BadDestination):
        world.create(phones=("Local/5@out",))


def test_changed_agents_replace_the_others(world: World) -> None:
    """A reserved agent stays until the call has ended."""
    running = world.start(lines=1, agents=2)
    world.step(running)
    world.campaigns.change(running.id, {"phones": ["PJSIP/new"], "name": "autumn"}, by=ANN)
    assert world.get(running).name == "autumn"
    kept = {one.agent: one.state for one in world.agents(running)}
    assert kept == {world.dials(running)[0].agent: "reserved", "new": "away"}


# Processes that die, and steps at once


def test_a_process_that_dies_between_reservation_and_call_loses_nothing(world: World) -> None:
    """The next step releases the reservation and dials the number once."""
    running = world.start(lines=1, agents=1)
    world.dialler.fault = Killed()
    with pytest.raises(Killed):
        world.campaigns.step(running.id)
    assert world.count(running) == {"reserved": 1}
    world.dialler.fault = None
    assert world.step(running) == {"dialling": 1}
    assert len(world.dials(running, live=False)) == 1


def test_a_process_that_dies_between_the_row_of_a_call_and_its_ring_dials_again_later(
    world: World,
) -> None:
    """The row says that a call was wanted; while it lives nobody rings a second time."""
    running = world.start(lines=1, agents=1)
    world.pbx.fault = Killed()
    with pytest.raises(Killed):
        world.campaigns.step(running.id)
    world.pbx.fault = None
    assert world.step(running) == {"dialling": 1}
    (wanted,) = world.dials(running)
    world.end(wanted, "pbx-unreachable")
    world.step(running)
    assert world.entries(running)[0].attempts == 0
    world.make_due(running)
    assert world.step(running) == {"dialling": 1}


def test_steps_at_once_ring_once_for_each_agent(world: World) -> None:
    """Four workers take the same step: two agents get two calls, and no number has two."""
    running = world.start(lines=6, agents=2)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(world.campaigns.step, [running.id] * 4))
    made = world.dials(running, live=False)
    assert len({one.agent for one in made}) == len(made) == 2
    assert len({one.number for one in made}) == 2


def test_a_step_that_dies_in_the_middle_of_many_leaves_the_others_free(world: World) -> None:
    """The first of three agents rings; after the crash the others ring once each."""
    running = world.start(lines=3, agents=3)
    original = world.pbx.originate
    rung: list[str] = []

    def originate(endpoint: str, *, channel_id: str, **more: Any) -> None:
        if len(rung) == 1:
            raise Killed
        rung.append(endpoint)
        original(endpoint, channel_id=channel_id, **more)

    world.pbx.originate = originate  # type: ignore[method-assign]
    with pytest.raises(Killed):
        world.campaigns.step(running.id)
    world.pbx.originate = original  # type: ignore[method-assign]
    assert world.step(running) == {"dialling": 3}
    made = world.dials(running, live=False)
    assert len({one.agent for one in made}) == len(made) == 3


# Preview


def test_a_preview_shows_the_same_number_until_it_is_called(world: World) -> None:
    """No phone rings before `go`; a second `go` rings none."""
    running = world.start(lines=2, agents=1, mode="preview")
    (agent,) = running.agents
    assert world.step(running) == {"waiting": 2}
    shown = world.campaigns.show_next(running.id, agent, by=ANN)
    assert world.campaigns.show_next(running.id, agent, by=ANN) == shown
    assert world.step(running) == {"reserved": 1, "waiting": 1}
    dialled = world.campaigns.go(running.id, agent, by=ANN)
    assert shown.entry is not None
    assert (dialled.entry_id, dialled.agent) == (shown.entry.id, agent)
    with pytest.raises(NothingReserved):
        world.campaigns.go(running.id, agent, by=ANN)
    assert world.step(running) == {"dialling": 1, "waiting": 1}
    world.end(dialled, "ended", **TALKED)
    world.step(running)
    following = world.campaigns.show_next(running.id, agent, by=ANN).entry
    assert following is not None
    assert following.id != shown.entry.id


def test_two_agents_never_see_one_number(world: World) -> None:
    """Each agent gets a number of its own, and the third gets none."""
    running = world.start(lines=2, agents=3, mode="preview")
    with ThreadPoolExecutor(3) as threads:
        shown = list(
            threads.map(
                lambda agent: world.campaigns.show_next(running.id, agent, by=ANN).entry,
                running.agents,
            )
        )
    seen = [one.id for one in shown if one is not None]
    assert len(seen) == len(set(seen)) == 2


def test_a_skipped_number_waits_and_another_is_shown(world: World) -> None:
    """A skip uses up no attempt."""
    running = world.start(lines=2, agents=1, mode="preview")
    (agent,) = running.agents
    first = world.campaigns.show_next(running.id, agent, by=ANN).entry
    skipped = world.campaigns.skip(running.id, agent, by=ANN)
    assert (skipped.state, skipped.attempts, skipped.cause) == ("waiting", 0, "skipped")
    second = world.campaigns.show_next(running.id, agent, by=ANN).entry
    assert first is not None
    assert second is not None
    assert first.id != second.id
    world.campaigns.skip(running.id, agent, by=ANN)
    with pytest.raises(NothingReserved):
        world.campaigns.skip(running.id, agent, by=ANN)


def test_a_shown_number_that_gets_listed_is_refused(world: World) -> None:
    """`go` asks the do-not-call list again."""
    running = world.start(lines=1, agents=1, mode="preview")
    (agent,) = running.agents
    shown = world.campaigns.show_next(running.id, agent, by=ANN).entry
    assert shown is not None
    with world.catalogue.begin() as tx:
        do_not_call.add(tx, str(shown.number), "asked", by="ann")
    with pytest.raises(NumberRefused):
        world.campaigns.go(running.id, agent, by=ANN)
    assert world.count(running) == {"refused": 1}


def test_an_agent_who_goes_away_puts_the_shown_number_back(world: World) -> None:
    """The number waits for another agent; so does that of an agent who looks for too long."""
    running = world.start(lines=1, agents=1, mode="preview")
    (agent,) = running.agents
    world.campaigns.show_next(running.id, agent, by=ANN)
    assert world.campaigns.set_ready(running.id, agent, ready=False, by=ANN).state == "away"
    assert world.count(running) == {"waiting": 1}
    world.campaigns.show_next(running.id, agent, by=ANN)
    with world.catalogue.begin() as tx:
        theirs = campaign_agent.c.campaign_id == running.id
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        tx.execute(update(campaign_agent).where(theirs).values(since=long_ago))
    assert world.step(running) == {"waiting": 1}
    assert world.agents(running)[0].state == "away"


def test_a_progressive_campaign_has_no_preview(world: World) -> None:
    """The numbers of a progressive campaign are not shown one by one."""
    running = world.start(lines=1, agents=1)
    with pytest.raises(CampaignNotReady):
        world.campaigns.show_next(running.id, running.agents[0], by=ANN)


def test_an_agent_in_a_call_previews_nothing(world: World) -> None:
    """The phone rings for another call: it gets no number."""
    running = world.start(lines=1, agents=1, mode="preview")
    (agent,) = running.agents
    taken = DialRequest("main", f"PJSIP/{agent}", str(next(NUMBERS)))
    world.dialler.dial(taken, by=ANN, owner_id=None)
    with pytest.raises(PhoneBusy):
        world.campaigns.show_next(running.id, agent, by=ANN)
    with pytest.raises(NoSuchCampaignAgent):
        world.campaigns.set_ready(running.id, "nobody", ready=True, by=ANN)


# Lists


def test_every_bad_line_is_told_and_costs_no_other(world: World) -> None:
    """Numbers, quotes, bytes and doubles: each fault has its line, and the rest is kept."""
    made = world.create()
    listed = (
        b"\xef\xbb\xbfName,NUMBER,plan\r\n"
        b"Ann,202 555 0123,gold\r\n"
        b"Bob,not a number,\r\n"
        b"\r\n"
        b'"Eve,202 555 0124,\r\n'
        b"\xff\xfe,202 555 0125,\r\n"
        b"Dan,+1 (202) 555-0123,\r\n"
        b"Mal,+44 20 7946 0018,\r\n"
        b"Too,202 555 0126,many,fields\r\n"
        b"Few,202 555 0127\r\n"
    )
    report = world.campaigns.replace_list(made.id, listed, by=ANN)
    assert (report.lines, report.refused) == (8, 6)
    assert [(one.entry.place, one.entry.cause) for one in report.faults] == [
        (3, "not-a-number"),
        (5, "line-invalid"),
        (6, "line-invalid"),
        (7, "duplicate"),
        (8, "number-refused"),
        (9, "line-invalid"),
    ]
    kept = [one for one in world.entries(made) if one.state == "waiting"]
    assert [(one.number, one.name, dict(one.data)) for one in kept] == [
        ("+12025550123", "Ann", {"plan": "gold"}),
        ("+12025550127", "Few", {"plan": ""}),
    ]
    world.campaigns.replace_list(made.id, b"number\n202 555 0128\n", by=ANN)
    assert [one.number for one in world.entries(made)] == ["+12025550128"]


@pytest.mark.parametrize(
    "listed", [b"", b"name\nAnn\n", b"number,number\n1,2\n", b'"number\n1\n', b"\xff,number\n"]
)
def test_a_bad_header_changes_no_draft_to_a_campaign(world: World, listed: bytes) -> None:
    """Without a header nothing can be read, and the campaign does not start."""
    made = world.create()
    with pytest.raises(ListInvalid):
        world.campaigns.replace_list(made.id, listed, by=ANN)
    with pytest.raises(CampaignNotReady):
        world.campaigns.start(made.id, by=ANN, owner_id=world.owner_id)


def test_the_list_of_a_started_campaign_stays(world: World) -> None:
    """A running campaign keeps its list."""
    running = world.start(lines=1, agents=1)
    with pytest.raises(CampaignNotReady):
        world.campaigns.replace_list(running.id, b"number\n202 555 0123\n", by=ANN)


def test_a_half_written_list_does_not_start(world: World, monkeypatch: Any) -> None:
    """A process that dies while it reads a list leaves a draft that must be read again."""
    made = world.create()

    def die(*_: Any) -> None:
        raise Killed

    listed = b"number\n" + b"".join(b"%d\n" % next(NUMBERS) for _ in range(3))
    with monkeypatch.context() as patch:
        patch.setattr(campaigns, "add_entries", die)
        with pytest.raises(Killed):
            world.campaigns.replace_list(made.id, listed, by=ANN)
    with pytest.raises(CampaignNotReady):
        world.campaigns.start(made.id, by=ANN, owner_id=world.owner_id)
    assert world.campaigns.replace_list(made.id, listed, by=ANN).lines == 3
    world.campaigns.start(made.id, by=ANN, owner_id=world.owner_id)


def test_deeds_are_audited_and_changes_told(world: World) -> None:
    """The audit trail has each deed, and the events each change of a state."""
    running = world.start(lines=1, agents=1)
    world.step(running)
    world.campaigns.stop(running.id, by=ANN)
    with world.catalogue.begin() as tx:
        noted = tx.scalars(select(audit.c.action).where(audit.c.subject == str(running.id))).all()
        mine = event.c.data["id"].astext == str(running.id)
        told = tx.scalars(select(event.c.type).where(mine).order_by(event.c.n)).all()
    assert {"campaign.create", "campaign.list", "campaign.running", "campaign.stopped"} <= {*noted}
    assert {"campaign.draft", "campaign.running", "campaign.agent", "campaign.entry"} <= {*told}
    assert told[-1] == "campaign.stopped"
