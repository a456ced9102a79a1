"""The world: the PBX under test, the far end, and the calls that tests place between them."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from lab.asterisk import Asterisk
from lab.far import CHANNELVARS, FarEnd, Leg, Manner, far_files
from lab.pbx import (
    AGENTS,
    DID_AGENT,
    DID_ANSWERED,
    DID_BOT,
    DID_IVR,
    DID_QUEUE,
    DID_SECOND,
    DID_VIP,
    PARKING,
    ROOM,
    TRUNK,
    pbx_files,
    write_music,
)
from lab.root import ensure_root, root_directory
from lab.waiting import until

ANSWER_AFTER_S = 0.1
# The phones that a call to a DID can ring; the first one answers.
RUNG = {
    DID_AGENT: ("2001",),
    DID_QUEUE: ("2001", "2002"),
    DID_IVR: (),
    DID_VIP: ("2001",),
    DID_SECOND: ("2002",),
    DID_BOT: (),
    DID_ANSWERED: ("2001",),
}

How = Literal["refer", "dtmf"]


class World:
    """Two Asterisks: `pbx`, which is under test, and `far` with the carrier and every phone.

    `codecs` are the codecs that both allow, in Asterisk's words: "ulaw", or "g722" for wideband.
    `codecs_of` are those of single endpoints of the PBX: `{"2001": "g722"}`.

    With `native_bridging` the PBX may pass RTP on unchanged. Then sequence numbers jump when the
    parties change, and the audiohooks of Debian's Asterisk 22 drop the audio after the jump: do not
    trust the `heard` files of the far end there.

    `far_root` is another root for the far end: the files of an Asterisk 16 contain no silence, so
    they cannot serve as a clock. `channelvars` are the PBX's; the default is the documented one.
    `telephones` maps the extensions of real telephones to their ports.
    """

    def __init__(
        self,
        root: Path,
        codecs: str = "ulaw",
        *,
        native_bridging: bool = False,
        far_root: Path | None = None,
        channelvars: Sequence[str] = ("CHANNEL(linkedid)",),
        telephones: Mapping[str, int] | None = None,
        codecs_of: Mapping[str, str] | None = None,
    ):
        without = () if native_bridging else ("bridge_native_rtp",)
        self.telephones = telephones or {}
        self.pbx = Asterisk(root, "pbx", channelvars=channelvars, without=without)
        self.far_asterisk = Asterisk(far_root or root, "far", channelvars=CHANNELVARS)
        pbx, far = self.pbx, self.far_asterisk
        music = pbx.directory / "music"
        write_music(music)
        pbx.configure(
            pbx_files(
                pbx.sip_port,
                far.sip_port,
                pbx.inside(music),
                {"": codecs, **(codecs_of or {})},
                self.telephones,
            )
        )
        all_codecs = ",".join(dict.fromkeys([codecs, *(codecs_of or {}).values()]))
        far.configure(far_files(far.sip_port, pbx.sip_port, all_codecs))

    @classmethod
    def of_suite(cls, suite: str) -> Self:
        """Return a world whose PBX is the Asterisk of a Debian suite; the far end is the usual one.

        No linkedid comes with the events of the PBX. Example: `World.of_suite("bullseye")`, with
        Asterisk 16.
        """
        root = ensure_root(root_directory(suite), suite)
        return cls(root, far_root=ensure_root(root_directory()), channelvars=())

    def start(self) -> None:
        """Start both instances; return when calls can be placed."""
        self.pbx.start()
        self.far_asterisk.start()
        self.far = FarEnd(self.far_asterisk, self.pbx.sip_port)

    def stop(self) -> None:
        """Stop both instances and remove their files. Safe to repeat."""
        if hasattr(self, "far"):
            self.far.close()
        self.far_asterisk.stop()
        self.pbx.stop()

    def inbound(
        self,
        did: str = DID_AGENT,
        caller: str = "12025550100",
        name: str = "Alice",
        *,
        answered_by: str | None = None,
        answer_after_s: float = ANSWER_AFTER_S,
        customer_says: Path | None = None,
        agent_says: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Call":
        """Let a customer call a DID; return when an agent has answered and both parties speak.

        `headers` are SIP headers of the INVITE. `answered_by` is the phone that answers, while the
        others go on ringing. With `answered_by=""` nobody answers: return as soon as the call is
        placed; it has no agent.

        Example: `world.inbound("3001", answered_by="2002", answer_after_s=2.0)`
        """
        rung = RUNG.get(did, ())
        agent = answered_by if answered_by is not None else next(iter(rung), "")
        others = [phone for phone in rung if phone != agent] if agent else []
        for phone in others:
            self.far.behave(phone, "ring", 0, None)
        if agent:
            self.far.behave(agent, "answer", answer_after_s, agent_says)
        placed = self.far.place(did, TRUNK, caller, name, customer_says, headers=headers)
        call = Call(self, customer=placed)
        if agent:
            call.agent = self.far.await_leg(agent, answer_after_s + 10)
        if answered_by != "":
            call.leg("customer").await_up()
        for phone in others:
            self.far.behave(phone, "answer", ANSWER_AFTER_S, None)
        return call

    def outbound(
        self,
        agent: str = "2001",
        number: str = "12025550123",
        *,
        answer_after_s: float = ANSWER_AFTER_S,
        customer_says: Path | None = None,
        agent_says: Path | None = None,
    ) -> "Call":
        """Let an agent's phone dial a number outside; return when it is answered."""
        self.far.behave(number, "answer", answer_after_s, customer_says)
        leg = self.far.place(number, agent, agent, says=agent_says)
        customer = self.far.await_leg(number, answer_after_s + 10)
        return Call(self, customer=customer, agent=leg.await_up())

    def internal(
        self,
        agent: str = "2001",
        to: str = "2002",
        *,
        answer_after_s: float = ANSWER_AFTER_S,
        headers: Mapping[str, str] | None = None,
    ) -> "Call":
        """Let an agent's phone dial a colleague's; return when it is answered.

        `headers` are SIP headers of the INVITE.
        """
        self.far.behave(to, "answer", answer_after_s, None)
        leg = self.far.place(to, agent, agent, headers=headers)
        colleague = self.far.await_leg(to, answer_after_s + 10)
        return Call(self, agent=leg.await_up(), colleague=colleague)

    def originate(self, channel: str, number: str, agent: str = "2001") -> "Call":
        """Let the PBX call an agent first, and then the number that the agent wants.

        `channel` is the first one in Asterisk's words, such as `PJSIP/2001` or
        `Local/2001@agents/n`.
        """
        self.far.behave(agent, "answer", ANSWER_AFTER_S, None)
        self.far.behave(number, "answer", ANSWER_AFTER_S, None)
        # Without `formats` Asterisk 22 takes linear audio: then every second agent whom it called
        # through a Local channel with /n hears nothing of the customer.
        target = {"context": "agents", "extension": number, "priority": 1}
        self.pbx.ari("POST", "/channels", endpoint=channel, formats="ulaw", **target)
        leg, other = self.far.await_leg(agent), self.far.await_leg(number)
        if number in AGENTS:
            return Call(self, agent=leg, colleague=other)
        return Call(self, agent=leg, customer=other)

    def dialled(self, agent: str, number: str) -> "Call":
        """Wait until a call that Earwitness sets up is answered by both, and return it.

        Set before how both phones behave (`phone`, `far.behave`): they answer by default.
        """
        leg = self.far.await_leg(agent)
        return Call(self, agent=leg, customer=self.far.await_leg(number))

    def conference(
        self, *numbers: str, room: str = ROOM, headers: Mapping[str, str] | None = None
    ) -> "Conference":
        """Let these people dial a conference room; return when all are in it and speak.

        `headers` are SIP headers of each INVITE.

        Example: `world.conference("12025550100", "2001", "2002")`
        """
        conference = Conference(self, room)
        for number in numbers:
            conference.join(number, headers=headers)
        return conference

    def merge(self, held: "Call", taken: "Call") -> "Call":
        """Let the agent of two calls join them by REFER with Replaces, and leave.

        `held` is the call that waits on hold. Return the call of the two others: the customer of
        `taken`, with the held colleague as agent, or with the held customer as colleague.
        """
        first, second = held.leg("agent"), taken.leg("agent")
        other = held.colleague or held.leg("customer")
        second.refer(other.party, replaces=first)
        for leg in (first, second):
            leg.await_down()
        gone = [*held.left, *taken.left, first, second]
        if held.colleague:
            return Call(self, customer=taken.customer, agent=other, left=gone)
        return Call(self, customer=taken.customer, colleague=other, left=gone)

    def redirect(self, extension: str, leg: Leg, other: Leg | None = None) -> None:
        """Send a leg, or both legs of a call at once, to an extension of the dialplan.

        It is Redirect of the manager interface. Asterisk hangs up whoever stays behind alone.
        """
        target = {"Context": "agents", "Exten": extension, "Priority": "1"}
        target["Channel"] = leg.pbx_channel(self.pbx)["name"]
        if other:
            extra = {"Channel": other.pbx_channel(self.pbx)["name"]}
            target |= {f"Extra{key}": value for key, value in (target | extra).items()}
        self.pbx.ami("Redirect", **target)

    def supervisor(self, number: str = "9001", timeout_s: float = 10.0) -> Leg:
        """Wait until a supervisor's phone has answered the PBX's call, and return its leg."""
        return self.far.await_leg(number, timeout_s)

    @contextmanager
    def phone(
        self, number: str, manner: Manner, answer_after_s: float = ANSWER_AFTER_S
    ) -> Iterator[None]:
        """Change how the phone at `number` behaves, for as long as the block lasts.

        It can "answer", be "busy" (486), "decline" (603), be "absent" (480) or "unallocated" (404),
        or let it "ring".
        """
        self.far.behave(number, manner, answer_after_s, None)
        try:
            yield
        finally:
            self.far.behave(number, "answer", ANSWER_AFTER_S, None)

    def hang_up_all(self) -> None:
        """Hang up every call."""
        self.far.hang_up_all()
        if self.pbx.pid:
            until(lambda: not self.pbx.ari("GET", "/channels"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass
class Call:
    """A call and the legs of its parties; `agent` is the leg of the present agent."""

    world: World
    customer: Leg | None = None
    agent: Leg | None = None
    colleague: Leg | None = None
    left: list[Leg] = field(default_factory=list)

    def leg(self, who: str) -> Leg:
        """Return a leg by role ("customer", "agent", "colleague") or number, also after its end."""
        legs = {"customer": self.customer, "agent": self.agent, "colleague": self.colleague}
        found = legs.get(who) or next((leg for leg in self._legs() if leg.party == who), None)
        if found is None:
            raise LookupError(f"nobody is {who!r} in this call")
        return found

    def is_up(self) -> bool:
        """Return whether every party that has not left is connected."""
        return all(leg.is_up() for leg in self._present())

    def hang_up(self, by: str = "customer") -> None:
        """Let one party hang up; return when every leg is over."""
        self.leg(by).hang_up()
        self.await_end()

    def await_end(self, timeout_s: float = 10.0) -> None:
        """Wait until every leg is over; `heard` and `said` are complete then."""
        for leg in self._legs():
            leg.await_down(timeout_s)

    def talk_for(self, seconds: float) -> None:
        """Let the parties talk; raise AssertionError when one of them drops out meanwhile."""
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            if not self.is_up():
                raise AssertionError("the call has ended early")
            time.sleep(min(left_s, 0.25))

    def hold(self, by: str = "agent") -> None:
        """Let one party put the other on hold."""
        self.leg(by).hold()

    def unhold(self, by: str = "agent") -> None:
        """Let the party that holds take the call back."""
        self.leg(by).unhold()

    def send_dtmf(self, digits: str, by: str = "agent") -> None:
        """Let one party press keys."""
        self.leg(by).send_dtmf(digits)

    def heard(self, who: str) -> Path:
        """Return the WAV of the audio that a party heard; its leg must be over."""
        return self.leg(who).heard()

    def said(self, who: str) -> Path:
        """Return the WAV of the audio that a party sent; its leg must be over."""
        return self.leg(who).said()

    def blind_transfer(self, to: str = "2003", how: How = "refer") -> Leg:
        """Let the agent transfer the call to another phone without asking; return that leg."""
        self.world.far.behave(to, "answer", ANSWER_AFTER_S, None)
        if how == "refer":
            self.leg("agent").refer(to)
        else:
            self.send_dtmf(f"#1{to}")
        return self._hand_over(self.world.far.await_leg(to))

    def attended_transfer(self, to: str = "2003", how: How = "refer", asking_s: float = 0.5) -> Leg:
        """Let the agent ask a colleague, then hand the call over; return the colleague's leg.

        "refer" is the way of a desk phone: hold, a second call, REFER with Replaces. "dtmf" is the
        PBX's own feature.
        """
        self.world.far.behave(to, "answer", ANSWER_AFTER_S, None)
        agent = self.leg("agent")
        if how == "dtmf":
            self.send_dtmf(f"*3{to}")
            target = self._ask(to, asking_s)
            agent.hang_up()
        else:
            agent.hold()
            asking = self.world.far.place(to, agent.party, agent.party)
            target = self._ask(to, asking_s)
            self.left.append(asking.await_up())
            agent.refer(to, replaces=asking)
        return self._hand_over(target)

    def _ask(self, to: str, asking_s: float) -> Leg:
        target = self.world.far.await_leg(to)
        self.talk_for(asking_s)
        return target

    def consult(self, to: str = "2003") -> Leg:
        """Let the agent ask a colleague by the PBX's feature code; return the colleague's leg.

        When the colleague hangs up, the agent is back with the customer.
        """
        self.world.far.behave(to, "answer", ANSWER_AFTER_S, None)
        self.send_dtmf(f"*3{to}")
        return self._ask(to, 0)

    def park(self) -> str:
        """Let the agent park the call; return the slot from which another phone takes it."""
        agent = self.leg("agent")
        before = self._slots()
        agent.refer(PARKING)
        slot = until(lambda: next(iter(self._slots() - before), None))
        agent.await_down()
        self._mark_gone()
        return slot

    def retrieve(self, slot: str, agent: str = "2002") -> Leg:
        """Let another agent dial the slot and take the call."""
        self.agent = self.world.far.place(slot, agent, agent).await_up()
        return self.agent

    def _slots(self) -> set[str]:
        return set(re.findall(r"Space +: +(\d+)", self.world.pbx.cli("parking show default")))

    def _hand_over(self, target: Leg) -> Leg:
        self.leg("agent").await_down()
        self._mark_gone()
        self.agent = target
        return target

    def _mark_gone(self) -> None:
        self.left.append(self.leg("agent"))
        self.agent = None

    def _present(self) -> list[Leg]:
        return [leg for leg in (self.customer, self.agent, self.colleague) if leg]

    def _legs(self) -> list[Leg]:
        return self._present() + self.left


class Conference:
    """A conference room of the PBX; `members` maps the number of each member to the leg."""

    def __init__(self, world: World, room: str) -> None:
        self.world = world
        self.room = room
        self.members: dict[str, Leg] = {}

    def join(self, number: str, *, headers: Mapping[str, str] | None = None) -> Leg:
        """Let a customer or an agent dial the room; return when the leg is in it and speaks."""
        via = number if number in AGENTS else TRUNK
        leg = self.world.far.place(self.room, via, number, headers=headers)
        self.members[number] = leg.await_up()
        return leg

    def leave(self, number: str) -> Leg:
        """Let a member hang up; return the leg."""
        leg = self.members.pop(number)
        leg.hang_up()
        return leg

    def end(self) -> None:
        """Let all members hang up."""
        for number in list(self.members):
            self.leave(number)
