"""Commands of other programs, and our answers to them, both as user events of the PBX.

    UserEvent(earwitness,action: dial,…,request: 7)  ──▶  Programs.carry_out
    earwitness.accepted: request: 7, call_id: main-…     ◀──  or earwitness.refused, with a reason

A program may give each request words of its own. Our answer repeats them, and so do the later
events about the call, the conference or the call-back that the request made. The answers go where
our events go: see `user_events.py`.
"""

from collections.abc import Mapping

import structlog

from recorder.ari import AriError, ChannelUserevent
from recorder.programs.commands import parse_command
from recorder.programs.programs import CommandOrigin, Programs
from recorder.watch.lanes import Lanes
from recorder.watch.user_events import Outlet
from storage.actors import dialplan_actor
from storage.errors import EarwitnessError
from storage.records import Actor

log = structlog.get_logger()

ACCEPTED, REFUSED = "earwitness.accepted", "earwitness.refused"
# The fields of a user event that are not of the command.
_ENVELOPE = ("eventname", "request", "application")


class ProgramDesk:
    """Carries out the commands on one PBX, and answers each.

    `application` is our own: a command may name it, where several Earwitness follow one PBX.
    `lanes` are not those of the recordings: a PBX that is slow to dial must delay no recording.
    """

    def __init__(
        self, pbx: str, application: str, programs: Programs, outlet: Outlet, lanes: Lanes
    ) -> None:
        self._pbx = pbx
        self._application = application
        self._programs = programs
        self._outlet = outlet
        self._lanes = lanes

    @property
    def actor(self) -> Actor:
        """The programs of this PBX, in the audit trail."""
        return dialplan_actor(self._pbx)

    def submit(self, event: ChannelUserevent, call_id: str | None) -> None:
        """Queue a command; those of one conference, or of one phone, keep their order.

        Ignore a command for another Earwitness on this PBX.
        """
        given = event.userevent
        if given.get("application") not in (None, "", self._application):
            return
        key = str(given.get("name") or given.get("from") or given.get("action") or "")
        self._lanes.submit(key, self.receive, event, call_id)

    def close(self) -> None:
        """Finish the command that runs, and drop those that wait."""
        self._lanes.close()

    def receive(self, event: ChannelUserevent, call_id: str | None) -> None:
        """Carry out the command of a user event; its channel may be one of this call."""
        given = event.userevent
        fields = {name: value for name, value in given.items() if name not in _ENVELOPE}
        origin = CommandOrigin(
            self._pbx,
            self.actor,
            call_id=call_id,
            request=str(given.get("request") or ""),
        )
        try:
            result = self._programs.carry_out(parse_command(fields), origin)
        except EarwitnessError as error:
            self.refuse(event, error)
            return
        log.info("program.obeyed", pbx=self._pbx, **result.as_texts())
        self.accept(event, result.as_texts())

    def accept(self, event: ChannelUserevent, result: Mapping[str, str]) -> None:
        """Say to the programs that a command was carried out."""
        self._answer(ACCEPTED, event, result)

    def refuse(self, event: ChannelUserevent, error: EarwitnessError) -> None:
        """Say to the programs that a command was refused, and why."""
        action = str(event.userevent.get("action", ""))
        reason = str(error)
        log.warning("program.refused", pbx=self._pbx, action=action, reason=reason)
        self._answer(REFUSED, event, {"error_id": error.error_id, "reason": reason})

    def _answer(self, name: str, event: ChannelUserevent, result: Mapping[str, str]) -> None:
        asked = {
            field: str(event.userevent[field])
            for field in ("request", "action", "do")
            if event.userevent.get(field)
        }
        channels = [event.channel.id] if event.channel is not None else []
        try:
            self._outlet.post(name, {**asked, "pbx": self._pbx, **result}, channels)
        except AriError as error:
            log.warning("program.not-answered", pbx=self._pbx, error=str(error))
