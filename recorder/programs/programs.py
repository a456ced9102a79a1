"""Carry out the commands of other programs on a PBX.

A dialplan, and a program that can send user events, show no token: whoever reaches the PBX can do
all that a dialplan can. They are trusted like it, with one exception: they make us ring phones and
dial numbers only where `programs_may_dial` says so, because a call costs money. The refused
prefixes and the do-not-call list hold for them too.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from uuid_utils.compat import uuid7

from recorder import names
from recorder.dialling.dialler import Dialler, DialRequest
from recorder.errors import BadCommand, NumberRefused, ProgramsMayNotDial
from recorder.programs.commands import Command, DialCommand, HangUpCommand
from storage.catalogue import audit, dials, requests
from storage.catalogue.engine import Catalogue
from storage.errors import NoSuchCall

# The refusals that the audit trail keeps; all others are mistakes of the program.
REFUSALS = (ProgramsMayNotDial, NumberRefused)
DIALPLAN = "dialplan"


@dataclass(frozen=True, slots=True)
class CommandOrigin:
    """The program that sent a command.

    `by` is its name in the audit trail, `owner_id` its token, None for a program of the PBX, which
    shows none. `call_id` is the call of the channel that sent the command, if a channel did.
    `request` are the program's own words for the request.
    """

    pbx: str
    by: str = DIALPLAN
    owner_id: UUID | None = None
    call_id: str | None = None
    request: str = ""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The state of the thing that a command made or changed, and its ids, the first one first."""

    state: str
    ids: Mapping[str, str] = field(default_factory=dict)

    def as_texts(self) -> dict[str, str]:
        """Return the fields of a user event."""
        return {"state": self.state, **self.ids}

    def as_line(self) -> str:
        """Return the answer to a dialplan: `requested main-earwitness-dial-…`."""
        return " ".join([self.state, *list(self.ids.values())[:1]])


class Programs:
    """The commands of programs on all PBXs; `may_dial` are the PBXs whose programs may dial."""

    def __init__(self, catalogue: Catalogue, dialler: Dialler, may_dial: Collection[str]) -> None:
        self._catalogue = catalogue
        self._dialler = dialler
        self._may_dial = frozenset(may_dial)

    def carry_out(self, command: Command, origin: CommandOrigin) -> CommandResult:
        """Carry out a command. Raises ProgramsMayNotDial, and the errors of the deed itself."""
        try:
            match command:
                case DialCommand():
                    return self._dial(command, origin)
                case HangUpCommand():
                    return self._hang_up(command, origin)
                case _:
                    raise BadCommand("not yet")
        except REFUSALS as error:
            self._audit_refusal(command, origin, error)
            raise

    # Calls

    def _dial(self, command: DialCommand, origin: CommandOrigin) -> CommandResult:
        self._require_dial(origin)
        dial_id = uuid7()
        call_id = names.build_call_id(origin.pbx, names.build_person_id(dial_id))
        self._keep_words(origin, call_id)
        request = DialRequest(
            pbx=origin.pbx,
            phone=command.phone,
            number=command.number,
            record=command.record,
            announce=command.announce,
            id=dial_id,
        )
        made = self._dialler.dial(request, by=origin.by, owner_id=origin.owner_id)
        cause = {"cause": made.cause} if made.cause is not None else {}
        return CommandResult(made.state, {"call_id": made.call_id, **cause})

    def _hang_up(self, command: HangUpCommand, origin: CommandOrigin) -> CommandResult:
        with self._catalogue.begin() as tx:
            found = dials.map_dials_of_calls(tx, [command.call_id]).get(command.call_id)
        if found is None or found.pbx != origin.pbx:
            raise NoSuchCall(f"we dialled no call {command.call_id}")
        ended = self._dialler.hang_up(found.id, by=origin.by)
        return CommandResult(ended.state, {"call_id": ended.call_id})

    # Parts of every command

    def _require_dial(self, origin: CommandOrigin) -> None:
        """Raise ProgramsMayNotDial for a program without a token, unless its PBX permits it."""
        if origin.owner_id is None and origin.pbx not in self._may_dial:
            raise ProgramsMayNotDial(
                f"PBX {origin.pbx}: the key programs_may_dial of [[pbx]] is not set"
            )

    def _keep_words(self, origin: CommandOrigin, *subjects: str) -> None:
        """Keep the program's words for these ids, before they have their first event."""
        if not origin.request:
            return
        with self._catalogue.begin() as tx:
            for subject in subjects:
                requests.keep_request(tx, subject, origin.request)

    def _audit_refusal(
        self, command: Command, origin: CommandOrigin, error: ProgramsMayNotDial | NumberRefused
    ) -> None:
        name = type(command).__name__.removesuffix("Command").lower()
        with self._catalogue.begin() as tx:
            audit.add_audit(
                tx,
                actor=origin.by,
                action="program.command",
                subject=origin.pbx,
                outcome="refused",
                detail={"command": name, "error_id": error.error_id, "reason": str(error)},
            )
