"""Call-backs on a PBX in memory: attempts, obstacles, races, and jobs that are lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from racing import waits_for_a_lock
from sqlalchemy import delete, select, text, update

from lab.waiting import until
from recorder.ari import Endpoint
from recorder.ari.pbxs import Pbxs
from recorder.dialling.callbacks import CallbackRequest, Callbacks, CallbackSettings
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from recorder.errors import (
    BadDestination,
    CannotDial,
    NotANumber,
    NumberRefused,
    PbxUnavailable,
    PhoneNotPermitted,
)
from storage.catalogue import callbacks, calls, dials, do_not_call, tokens, users
from storage.catalogue.engine import Catalogue
from storage.errors import NoSuchCallback
from storage.records import CallbackRecord, CallRecord, DialCause, DialRecord, Hours
from storage.schema import audit, call, callback, dial, event, token
from tests.actors import ANN, BOB
from tests.fake_pbx import FakePbx

ALWAYS = Hours(0, 24, (1, 2, 3, 4, 5, 6, 7))
RETRIES = (900, 3600)
NUMBERS = iter(range(2_025_550_100, 2_025_560_000))


class Phones(FakePbx):
    """A PBX whose phones ring; one that is busy has a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.busy: set[str] = set()
        self.is_away = False

    def add_phone(self) -> str:
        """Return a new phone, so that no test meets the calls of another."""
        phone = f"PJSIP/{uuid4().hex[:8]}"
        self.endpoints.add(phone)
        return phone

    def find_endpoint(self, technology: str, resource: str) -> Endpoint | None:
        found = super().find_endpoint(technology, resource)
        if found is None or f"{technology}/{resource}" not in self.busy:
            return found
        return replace(found, channel_ids=("1.1",))

    def originate(self, endpoint: str, *, channel_id: str, **more: Any) -> None:
        if self.is_away:
            raise PbxUnavailable("the PBX does not answer")
        super().originate(endpoint, channel_id=channel_id, **more)


class World:
    """Call-backs, and the PBX on which they ring."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.pbx = Phones()
        pbxs = Pbxs({"main": self.pbx})  # type: ignore[dict-item]
        settings = {"main": DialSettings("out", trunks=("PJSIP/trunk*",))}
        self.dialler = Dialler(catalogue, pbxs, settings, DialPolicy(refused=("+44",)))
        regions = {"main": "US"}
        self.callbacks = Callbacks(
            catalogue, self.dialler, CallbackSettings(ALWAYS, RETRIES, regions)
        )

    def make(self, *, owner_id: UUID | None = None, **more: Any) -> CallbackRecord:
        """Promise a call to a new number by a new phone, unless `more` names them."""
        usual = CallbackRequest("main", "", str(next(NUMBERS)))
        wanted = replace(usual, **more)
        if not wanted.phone:
            wanted = replace(wanted, phone=self.pbx.add_phone())
        return self.callbacks.make(wanted, by=ANN, owner_id=owner_id)

    def get(self, record: CallbackRecord) -> CallbackRecord:
        """Return the call-back as it is now."""
        with self.catalogue.begin() as tx:
            return callbacks.get_callback(tx, record.id)

    def step(self, record: CallbackRecord) -> CallbackRecord:
        """Take the next step as if its time had come, and return the call-back."""
        self.make_due(record)
        self.callbacks.step(record.id)
        return self.get(record)

    def make_due(self, record: CallbackRecord, *, ago: timedelta = timedelta(seconds=1)) -> None:
        """Let the next attempt of a call-back be due since a while."""
        due = update(callback).where(callback.c.id == record.id, callback.c.state == "waiting")
        with self.catalogue.begin() as tx:
            tx.execute(due.values(next_at=datetime.now(UTC) - ago))

    def dials(self, record: CallbackRecord) -> tuple[DialRecord, ...]:
        """Return the calls of a call-back, newest first."""
        with self.catalogue.begin() as tx:
            return dials.list_dials(tx, callback_id=record.id)

    def end(self, record: CallbackRecord, cause: DialCause, **columns: Any) -> CallbackRecord:
        """End the call of a call-back, and take the step that follows."""
        with self.catalogue.begin() as tx:
            live = dials.list_dials(tx, callback_id=record.id)[0]
            assert dials.move_dial(tx, live.id, to="ended", cause=cause, **columns) is not None
        self.callbacks.step(record.id)
        return self.get(record)

    def rung(self, record: CallbackRecord) -> int:
        """Return how often the phone of a call-back has rung."""
        return self.pbx.dialled.count(record.phone)

    def save_call(self, number: str, **more: Any) -> CallRecord:
        """Store an inbound call of this number."""
        now = datetime.now(UTC)
        record = CallRecord(f"main-{uuid4()}", "main", "up", "inbound", now, caller_number=number)
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, [replace(record, **more)])
        return record

    def list_jobs(self, record: CallbackRecord) -> list[Any]:
        """Return the scheduled times of the jobs of a call-back that wait."""
        query = text(
            "SELECT scheduled_at FROM procrastinate_jobs WHERE status = 'todo'"
            " AND task_name = 'callback_step' AND args ->> 'callback_id' = :id ORDER BY id"
        )
        with self.catalogue.begin() as tx:
            return list(tx.scalars(query, {"id": str(record.id)}))

    def drop_jobs(self) -> None:
        """Lose every job."""
        with self.catalogue.begin() as tx:
            tx.execute(text("DELETE FROM procrastinate_jobs"))

    def list_events(self, record: CallbackRecord) -> list[str]:
        """Return the types of the events of a call-back, oldest first."""
        query = select(event.c.type).where(event.c.data["id"].astext == str(record.id))
        with self.catalogue.begin() as tx:
            return list(tx.scalars(query.order_by(event.c.n)))

    def list_audit(self, record: CallbackRecord) -> list[tuple[str, str, str]]:
        """Return the audit trail of a call-back: actor, action, outcome."""
        query = select(audit).where(audit.c.subject == str(record.id)).order_by(audit.c.id)
        with self.catalogue.begin() as tx:
            return [(row.actor, row.action, row.outcome) for row in tx.execute(query)]


@pytest.fixture
def world(catalogue: Catalogue) -> World:
    """Return call-backs on a PBX of their own."""
    return World(catalogue)


def test_a_call_back_waits_with_its_job(world: World) -> None:
    """The row, its job at the time of the attempt, the event and the audit come together."""
    at = datetime.now(UTC) + timedelta(hours=3)
    record = world.make(at=at, name="Mrs Ng", note="about the invoice")
    found = world.get(record)
    assert found == record
    assert (found.state, found.next_at, found.cause, found.attempts) == ("waiting", at, None, 0)
    assert (found.retry_after_s, found.hours) == (RETRIES, ALWAYS)
    assert world.list_jobs(record) == [at]
    assert world.list_events(record) == ["callback.waiting"]
    assert world.list_audit(record) == [("ann", "callback.create", "done")]


def test_a_time_outside_the_hours_moves(world: World) -> None:
    """The next open time is planned where the number is, and the cause says so."""
    day = datetime.now(UTC).replace(hour=3) + timedelta(days=7)
    tuesday = day - timedelta(days=(day.weekday() - 1) % 7)
    record = world.make(number="+49 30 901820", at=tuesday, hours=Hours(9, 17, (3,)))
    opens_at = (tuesday + timedelta(days=1)).astimezone(ZoneInfo("Europe/Berlin"))
    assert record.next_at == opens_at.replace(hour=9, minute=0, second=0, microsecond=0)
    assert (record.at, record.cause) == (tuesday, "outside-hours")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"number": "abc"}, NotANumber),
        ({"number": "+44 20 7946 0958"}, NumberRefused),
        ({"phone": "Local/1@agents"}, BadDestination),
        ({"pbx": "other"}, CannotDial),
        ({"at": datetime(9999, 12, 31, tzinfo=UTC)}, NumberRefused),
        ({"number": "+7 912 345 67 89", "hours": Hours(8, 9, (1,))}, NumberRefused),
    ],
)
def test_a_call_back_that_could_never_ring_is_refused(
    world: World, more: dict[str, Any], error: type[Exception]
) -> None:
    """A wrong number, phone or PBX, a refused prefix and impossible hours are refused at once."""
    with pytest.raises(error):
        world.make(**more)


def test_it_rings_when_it_is_due(world: World) -> None:
    """A step before the time does nothing; a step at the time rings the phone once."""
    record = world.make(at=datetime.now(UTC) + timedelta(hours=1))
    world.callbacks.step(record.id)
    assert (world.get(record).state, world.rung(record)) == ("waiting", 0)
    assert world.step(record).state == "dialling"
    world.callbacks.step(record.id)
    world.callbacks.sweep()
    assert (world.get(record).state, world.rung(record)) == ("dialling", 1)
    (made,) = world.dials(record)
    assert (made.callback_id, made.number, made.state) == (record.id, record.number, "requested")
    assert made.allowed_by["attempt"] == 1
    assert "America/New_York" in made.allowed_by["local_times"]


def test_a_worker_whose_clock_is_behind_dials(world: World) -> None:
    """PostgreSQL starts the job by its own clock: a moment before the time counts as the time."""
    record = world.make(at=datetime.now(UTC) + timedelta(seconds=1))
    world.callbacks.step(record.id)
    assert world.get(record).state == "dialling"


def test_steps_at_once_ring_once(world: World) -> None:
    """One of many steps at the same time rings the phone."""
    record = world.make()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(world.callbacks.step, [record.id] * 8))
    assert (world.get(record).state, world.rung(record)) == ("dialling", 1)
    assert len(world.dials(record)) == 1


def test_attempts_follow_the_plan(world: World) -> None:
    """A busy number is dialled again after the next wait, and the talk ends the call-back."""
    record = world.make()
    world.step(record)
    now = datetime.now(UTC)
    waiting = world.end(record, "busy", answered_at=now)
    assert (waiting.state, waiting.attempts, waiting.cause) == ("waiting", 1, "busy")
    assert waiting.next_at is not None
    assert waiting.next_at >= now + timedelta(seconds=RETRIES[0])
    assert waiting.next_at in world.list_jobs(record)
    assert world.step(record).state == "dialling"
    done = world.end(record, "ended", answered_at=now, talked_at=now)
    assert (done.state, done.attempts, done.next_at) == ("done", 2, None)
    assert done.ended_at is not None
    assert world.rung(record) == 2
    types = ["waiting", "dialling", "waiting", "dialling", "done"]
    assert world.list_events(record) == [f"callback.{one}" for one in types]


def test_the_last_attempt_fails_it(world: World) -> None:
    """After the last attempt the call-back has failed, with the cause of that attempt."""
    record = world.make(retry_after_s=())
    world.step(record)
    failed = world.end(record, "no-answer", answered_at=datetime.now(UTC))
    assert (failed.state, failed.cause, failed.attempts) == ("failed", "no-answer", 1)


def test_a_busy_agent_uses_up_no_attempt(world: World) -> None:
    """While the phone is in a call nothing rings, and the call-back looks again in a minute."""
    record = world.make()
    world.pbx.busy.add(record.phone)
    waiting = world.step(record)
    assert (waiting.state, waiting.cause, waiting.attempts) == ("waiting", "agent-busy", 0)
    assert waiting.next_at is not None
    assert waiting.next_at > datetime.now(UTC) + timedelta(seconds=30)
    assert world.rung(record) == 0
    world.pbx.busy.clear()
    assert world.step(record).state == "dialling"
    again = world.end(record, "agent-no-answer")
    assert (again.state, again.cause, again.attempts) == ("waiting", "agent-no-answer", 0)


def test_an_agent_who_is_busy_for_a_day_fails_it(world: World) -> None:
    """The tries to reach the agent end after a day."""
    record = world.make()
    world.pbx.busy.add(record.phone)
    yesterday = datetime.now(UTC) - timedelta(hours=25)
    with world.catalogue.begin() as tx:
        tx.execute(update(callback).where(callback.c.id == record.id).values(due_at=yesterday))
    failed = world.step(record)
    assert (failed.state, failed.cause) == ("failed", "agent-busy")


def test_a_pbx_that_is_away_is_asked_again(world: World) -> None:
    """While the PBX does not answer, the call-back waits and uses up no attempt."""
    record = world.make()
    world.pbx.is_away = True
    world.step(record)
    world.callbacks.step(record.id)
    waiting = world.get(record)
    assert (waiting.state, waiting.cause, waiting.attempts) == ("waiting", "pbx-unreachable", 0)
    world.pbx.is_away = False
    assert world.step(record).state == "dialling"
    assert world.rung(record) == 1


def test_a_phone_that_is_gone_fails_it(world: World) -> None:
    """A phone that the PBX does not know ends the call-back, with the error's code."""
    record = world.make()
    world.pbx.endpoints.remove(record.phone)
    failed = world.step(record)
    assert (failed.state, failed.cause) == ("failed", "bad-destination")


# The customer calls in


@pytest.mark.parametrize("written", ["{0}", "+1{0}", "1{0}"])
def test_a_customer_who_has_called_in_is_not_called(world: World, written: str) -> None:
    """After a talk on an inbound call of the same number, the call-back is cancelled."""
    record = world.make()
    number = written.format(record.number.removeprefix("+1"))
    world.save_call(number, talked_at=datetime.now(UTC), state="ended")
    cancelled = world.step(record)
    assert (cancelled.state, cancelled.cause, world.rung(record)) == ("cancelled", "called-in", 0)


def test_the_sweep_finds_a_customer_who_has_called_in(world: World) -> None:
    """A call-back of tomorrow is cancelled today, soon after the customer has called in."""
    record = world.make(at=datetime.now(UTC) + timedelta(days=1))
    other = world.make(at=datetime.now(UTC) + timedelta(days=1))
    world.save_call(record.number, talked_at=datetime.now(UTC))
    world.callbacks.sweep()
    assert (world.get(record).state, world.get(record).cause) == ("cancelled", "called-in")
    assert world.get(other).state == "waiting"
    assert world.list_events(record) == ["callback.waiting", "callback.cancelled"]


def test_a_customer_who_is_calling_is_not_called(world: World) -> None:
    """While an inbound call of the number lives, the call-back waits; without a talk it goes on."""
    record = world.make()
    live = world.save_call(record.number)
    waiting = world.step(record)
    assert (waiting.state, waiting.cause, waiting.attempts) == ("waiting", "in-call", 0)
    with world.catalogue.begin() as tx:
        tx.execute(update(call).where(call.c.id == live.id).values(state="ended"))
    assert world.step(record).state == "dialling"


def test_a_customer_whom_another_agent_calls_is_not_called(world: World) -> None:
    """Two call-backs to one number do not ring it at the same time."""
    first = world.make()
    second = world.make(number=first.number)
    assert world.step(first).state == "dialling"
    waiting = world.step(second)
    assert (waiting.state, waiting.cause, world.rung(second)) == ("waiting", "in-call", 0)
    world.end(first, "busy", answered_at=datetime.now(UTC))
    assert world.step(second).state == "dialling"


def test_a_talk_before_the_promise_cancels_nothing(world: World) -> None:
    """The call in which the call-back was promised does not count, and neither do others."""
    number = str(next(NUMBERS))
    before = datetime.now(UTC) - timedelta(minutes=5)
    world.save_call(number, talked_at=before, state="ended", started_at=before)
    record = world.make(number=number)
    now = datetime.now(UTC)
    world.save_call(number, direction="outbound", talked_at=now)
    world.save_call(f"44{number[-8:]}", talked_at=now)
    world.save_call(None, talked_at=now)  # type: ignore[arg-type]  # withheld
    world.save_call("anonymous", talked_at=now)
    assert world.step(record).state == "dialling"


def test_a_customer_who_calls_in_at_the_last_moment_is_not_called(world: World) -> None:
    """A call that comes while we look for the phone is seen in the transaction of the dial."""
    record = world.make()
    look = world.pbx.find_endpoint

    def answer_late(technology: str, resource: str) -> Endpoint | None:
        world.save_call(record.number, talked_at=datetime.now(UTC))
        return look(technology, resource)

    world.pbx.find_endpoint = answer_late  # type: ignore[method-assign]
    cancelled = world.step(record)
    assert (cancelled.state, cancelled.cause) == ("cancelled", "called-in")
    assert (world.rung(record), world.dials(record)) == (0, ())


# The right of the owner, and the do-not-call list


def _lose_token(tx: Any, owner_id: UUID) -> None:
    tx.execute(delete(token).where(token.c.id == owner_id))


def _lose_right(tx: Any, owner_id: UUID) -> None:
    tx.execute(update(token).where(token.c.id == owner_id).values(without=["calls.dial"]))


def _change_team(tx: Any, owner_id: UUID) -> None:
    tx.execute(update(token).where(token.c.id == owner_id).values(team="elsewhere"))


def test_a_call_back_waits_for_the_withdrawal(world: World) -> None:
    """A call-back that is made while its token is being revoked is refused."""
    with world.catalogue.begin() as tx:
        owner_id = tokens.create_token(tx, name=uuid4().hex, role="admin")[0].id
    with ThreadPoolExecutor(1) as pool:
        with world.catalogue.begin() as tx:
            tokens.revoke_token(tx, owner_id)
            made = pool.submit(world.make, owner_id=owner_id)
            until(lambda: waits_for_a_lock(tx))
        with pytest.raises(PhoneNotPermitted):
            made.result(30)


@pytest.mark.parametrize("change", [_lose_token, _lose_right, _change_team])
def test_the_right_is_asked_again_at_each_attempt(
    world: World, change: Callable[[Any, UUID], None]
) -> None:
    """The call-back is cancelled if its owner is gone, or may not dial from this phone any more."""
    phone, team = world.pbx.add_phone(), uuid4().hex
    with world.catalogue.begin() as tx:
        agent = phone.partition("/")[2]
        tokens.create_token(tx, name=agent, role="agent", team=team)
        owner, _ = tokens.create_token(tx, name=uuid4().hex, role="supervisor", team=team)
    record = world.make(phone=phone, owner_id=owner.id)
    assert world.step(record).state == "dialling"
    world.end(record, "busy", answered_at=datetime.now(UTC))
    with world.catalogue.begin() as tx:
        change(tx, owner.id)
    cancelled = world.step(record)
    assert (cancelled.state, cancelled.cause) == ("cancelled", "not-permitted")
    assert world.rung(record) == 1
    by = "work" if change is _lose_token else owner.name  # nobody acts who is gone
    assert world.list_audit(record)[-1] == (by, "callback.dial", "refused")


def test_the_right_is_that_of_the_person_not_of_a_session(world: World) -> None:
    """The call-back stays when its owner signs out, and is cancelled when its owner is removed."""
    with world.catalogue.begin() as tx:
        name = uuid4().hex
        ann = users.create_user(tx, name=name, role="supervisor", team=None, password_hash="x")
        users.begin_session(tx, ann)
    record = world.make(owner_id=ann.id)
    with world.catalogue.begin() as tx:
        users.end_sessions(tx, ann.id)
    assert world.step(record).state == "dialling"
    world.end(record, "busy", answered_at=datetime.now(UTC))
    with world.catalogue.begin() as tx:
        users.delete_user(tx, ann.id)
    cancelled = world.step(record)
    assert (cancelled.state, cancelled.cause) == ("cancelled", "not-permitted")


def test_nobody_makes_a_call_back_for_another_agents_phone(world: World) -> None:
    """An agent makes call-backs for the own phone alone."""
    phone = world.pbx.add_phone()
    with world.catalogue.begin() as tx:
        me, _ = tokens.create_token(tx, name=phone.partition("/")[2], role="agent")
    world.make(phone=phone, owner_id=me.id)
    with pytest.raises(PhoneNotPermitted):
        world.make(owner_id=me.id)


def test_a_listed_number_is_refused_and_cancelled(world: World) -> None:
    """The do-not-call list holds when a program's call-back is made, and at each attempt."""
    record = world.make()
    with world.catalogue.begin() as tx:
        do_not_call.add(tx, record.number, "asked us not to", by="ann")
    with pytest.raises(NumberRefused, match="do-not-call"):
        world.make(number=record.number)
    cancelled = world.step(record)
    assert (cancelled.state, cancelled.cause, world.rung(record)) == ("cancelled", "do-not-call", 0)
    assert world.list_audit(record)[-1] == ("main", "callback.dial", "refused")


# Cancel


def test_a_cancelled_call_back_never_rings(world: World) -> None:
    """A person cancels it once; later steps and cancels change nothing."""
    record = world.make()
    cancelled = world.callbacks.cancel(record.id, by=BOB)
    assert (cancelled.state, cancelled.cause) == ("cancelled", "by-person")
    assert world.callbacks.cancel(record.id, by=BOB) == cancelled
    assert world.step(record) == cancelled
    assert world.rung(record) == 0
    assert world.list_audit(record)[1:] == [("bob", "callback.cancel", "done")]
    with pytest.raises(NoSuchCallback):
        world.callbacks.cancel(uuid4(), by=BOB)


def test_a_cancel_hangs_up_what_rings(world: World) -> None:
    """The phone that rings is hung up, and the end of the dial plans no further attempt."""
    record = world.make()
    world.step(record)
    assert world.callbacks.cancel(record.id, by=BOB).state == "cancelled"
    assert not world.pbx.channels
    (made,) = world.dials(record)
    assert (made.state, made.cause) == ("ended", "cancelled")
    world.callbacks.step(record.id)
    assert world.get(record).state == "cancelled"


def test_a_cancel_lets_a_talk_go_on(world: World) -> None:
    """Two people who talk are not hung up."""
    record = world.make()
    world.step(record)
    (made,) = world.dials(record)
    with world.catalogue.begin() as tx:
        dials.move_dial(tx, made.id, to="up", talked_at=datetime.now(UTC))
    assert world.callbacks.cancel(record.id, by=BOB).state == "cancelled"
    assert len(world.pbx.channels) == 1


# Lost jobs


def test_a_lost_job_is_found(world: World) -> None:
    """The sweep defers one job for an attempt that is late, and none for a later one."""
    late, later = world.make(), world.make(at=datetime.now(UTC) + timedelta(hours=1))
    world.make_due(late, ago=timedelta(minutes=1))
    world.drop_jobs()
    world.callbacks.sweep()
    world.callbacks.sweep()
    assert world.list_jobs(late) == [None]
    assert world.list_jobs(later) == []


def test_a_lost_end_is_found(world: World) -> None:
    """The sweep defers a job for a call-back whose dial has ended; none while the dial lives."""
    record = world.make()
    world.step(record)
    world.drop_jobs()
    with world.catalogue.begin() as tx:
        past = datetime.now(UTC) - timedelta(minutes=1)
        tx.execute(update(callback).where(callback.c.id == record.id).values(next_at=past))
    world.callbacks.sweep()
    assert world.list_jobs(record) == []
    ended = {"state": "ended", "cause": "busy", "answered_at": past, "ended_at": past}
    with world.catalogue.begin() as tx:
        tx.execute(update(dial).where(dial.c.callback_id == record.id).values(ended))
    world.callbacks.sweep()
    assert world.list_jobs(record) == [None]
    world.callbacks.step(record.id)
    assert (world.get(record).state, world.get(record).cause) == ("waiting", "busy")


class Killed(BaseException):
    """The process died at this moment."""


def test_a_worker_that_dies_before_it_rings_rings_later(world: World) -> None:
    """The dial of a dead worker ends, and the same attempt comes again and rings once."""
    record = world.make()
    ring = world.pbx.originate

    def die(endpoint: str, *, channel_id: str, **more: Any) -> None:
        raise Killed

    world.pbx.originate = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        world.step(record)
    world.pbx.originate = ring  # type: ignore[method-assign]
    assert (world.get(record).state, world.rung(record)) == ("dialling", 0)
    world.callbacks.step(record.id)
    assert world.get(record).state == "dialling"
    with world.catalogue.begin() as tx:
        past = datetime.now(UTC) - timedelta(minutes=1)
        mine = dial.c.callback_id == record.id
        tx.execute(update(dial).where(mine).values(requested_at=past))
    world.dialler.check("main")
    world.callbacks.step(record.id)
    waiting = world.get(record)
    assert (waiting.state, waiting.cause, waiting.attempts) == ("waiting", "pbx-unreachable", 0)
    assert world.step(record).state == "dialling"
    assert world.rung(record) == 1


def test_a_step_that_fails_too_often_ends_it(world: World) -> None:
    """A fault of ours ends the call-back visibly, and an ended one keeps its end."""
    record = world.make()
    world.callbacks.fail(record.id, "internal-error")
    failed = world.get(record)
    assert (failed.state, failed.cause) == ("failed", "internal-error")
    world.callbacks.fail(record.id, "again")
    assert world.get(record) == failed
