"""Conferences that Earwitness holds, their members' legs, and the named parts of their time."""

from typing import Any

from lab.far import Leg
from lab.waiting import until
from lab.world import Call, World
from tests.pbx.conversing import FINISHED, Kept
from tests.pbx.watching import Watched, assert_tones
from tests.service import Service

# The softest voice is at -19 dBFS. The clicks of four voices whose packets are late, on a busy
# machine, were at -58.
ABSENT_DBFS = -45.0


class Meeting:
    """A conference that the API has opened; `members` has the id of each member by number."""

    def __init__(self, service: Service, world: World, **terms: Any) -> None:
        answer = service.post("/conferences", terms)
        assert answer.status_code == 201, answer.text
        self.service = service
        self.world = world
        self.id = answer.json()["id"]
        self.members: dict[str, str] = {}
        self.legs: dict[str, Leg] = {}
        self._watched = Watched(service, world, Call(world), "")

    def invite(self, *numbers: str) -> None:
        """Call people, phones at the PBX or numbers outside; return when all talk."""
        for number in numbers:
            is_phone = len(number) == 4
            destination = f"PJSIP/{number}" if is_phone else f"+{number}"
            self.members[number] = self._add(destination=destination)["id"]
        for number in numbers:
            self.legs[number] = self.world.far.await_leg(number)
        for number in numbers:
            self.await_member(number, state="in")

    def take_in(self, call_id: str, *legs: Leg) -> None:
        """Take a live call in; `legs` are the legs of its parties."""
        self._add(call_id=call_id)
        for leg in legs:
            self.legs[leg.party] = leg
            self.members[leg.party] = until(lambda leg=leg: self._find(leg.party))["id"]
            self.await_member(leg.party, state="in")

    def _add(self, **who: Any) -> dict[str, Any]:
        answer = self.service.post(f"/conferences/{self.id}/members", who)
        assert answer.status_code == 201, answer.text
        member: dict[str, Any] = answer.json()
        return member

    def change(self, number: str, **to: bool) -> None:
        """Mute a member, hold it, or take it back; return when the API shows so."""
        path = f"/conferences/{self.id}/members/{self.members[number]}"
        answer = self.service.patch(path, to)
        assert answer.status_code == 200, answer.text
        self.await_member(number, **to)

    def remove(self, number: str) -> Leg:
        """Remove a member; return its leg, which is over."""
        path = f"/conferences/{self.id}/members/{self.members[number]}"
        answer = self.service.delete(path)
        assert answer.ok, answer.text
        leg = self.legs.pop(number)
        leg.await_down()
        return leg

    def get(self) -> dict[str, Any]:
        """Return the conference as the API shows it."""
        found: dict[str, Any] = self.service.get(f"/conferences/{self.id}")
        return found

    def await_member(self, number: str, **fields: Any) -> dict[str, Any]:
        """Wait until a member has these fields, and return it."""

        def find() -> dict[str, Any]:
            (member,) = [one for one in self.get()["members"] if one["id"] == self.members[number]]
            assert fields.items() <= member.items(), member
            return member

        return until(find)

    def call_of(self, number: str) -> str:
        """Return the id of the call of a member."""
        call_id: str = self.await_member(number)["call_id"]
        return call_id

    def watch(self, number: str) -> Watched:
        """Return the call of a member, to start spies on it."""
        self._watched.call_id = self.call_of(number)
        return self._watched

    def part(self, name: str, seconds: float = 1.5) -> None:
        """Let everybody talk, and give this part of the conference a name."""
        self._watched.part(name, seconds)

    def end(self) -> None:
        """End the conference; wait until every member is out."""
        answer = self.service.delete(f"/conferences/{self.id}")
        assert answer.ok, answer.text
        for leg in self.legs.values():
            leg.await_down()
        self.await_end()

    def await_end(self) -> dict[str, Any]:
        """Wait until the conference has ended, and return it."""

        def find() -> dict[str, Any]:
            found = self.get()
            assert found["state"] == "ended", found
            return found

        return until(find, 30)

    def assert_each_hears(self, part: str, *extra: float, but: tuple[str, ...] = ()) -> None:
        """Assert that all who are in hear each other, but not the members `but`, and `extra`."""
        for number, leg in self.legs.items():
            others = [one.hz for other, one in self.legs.items() if other not in (number, *but)]
            self.assert_hears(leg, part, *others, *extra)

    def assert_hears(self, leg: Leg, part: str, *hz: float) -> None:
        """Assert that a party heard these tones in this part, and no other."""
        rate, samples = self._watched.heard(leg, part)
        assert_tones(samples, rate, hz, f"{leg.party} in {part}", ABSENT_DBFS)

    def span(self, part: str) -> tuple[float, float]:
        """Return the times of a part on the monotonic clock."""
        return self._watched.span(part)

    def await_recordings(self) -> list[Kept]:
        """Wait until every recording of the members is finished; return those that were stored."""
        calls = [one["call_id"] for one in self.get()["members"]]

        def finished() -> list[dict[str, Any]]:
            made = [one for call_id in calls for one in self.service.recordings(call_id)]
            assert made, "nothing was recorded"
            assert all(one["state"] in FINISHED for one in made), [one["state"] for one in made]
            return made

        return [Kept(self.service, one) for one in until(finished, 60) if one["state"] == "stored"]

    def _find(self, number: str) -> dict[str, Any] | None:
        members = self.get()["members"]
        return next((one for one in members if one["number"] == number), None)
