"""Carry out the commands of other programs on a PBX.

A program that can send user events shows no token: whoever reaches the PBX can do all that a
dialplan can. It is trusted like the dialplan, with one exception: they make us ring phones and
dial numbers only where `programs_may_dial` says so, because a call costs money. The refused
prefixes and the do-not-call list hold for them too.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from uuid_utils.compat import uuid7

from recorder import names
from recorder.conferences.conferences import Conferences
from recorder.dialling.callbacks import CallbackRequest, Callbacks
from recorder.dialling.dialler import Dialler, DialRequest
from recorder.errors import BadCommand, NumberRefused, ProgramsMayNotDial
from recorder.programs.commands import (
    AddCommand,
    CallbackCommand,
    CancelCommand,
    Command,
    ConferenceCommand,
    DialCommand,
    HangUpCommand,
    MemberCommand,
    OpenCommand,
)
from storage.catalogue import audit, callbacks, conferences, dials, requests
from storage.catalogue.engine import Catalogue
from storage.errors import NoSuchCall, NoSuchCallback, NoSuchConference, NoSuchMember
from storage.permissions import CALLS_DIAL
from storage.records import Actor, ConferenceRecord, MemberRecord

# The refusals that the audit trail keeps; all others are mistakes of the program.
REFUSALS = (ProgramsMayNotDial, NumberRefused)


@dataclass(frozen=True, slots=True)
class CommandOrigin:
    """The program that sent a command.

    `by` is the actor in the audit trail, `owner_id` its token, None for a program of the PBX that
    shows none. `may_dial` says whether the token permits to dial; None asks the PBX's key, as for a
    dialplan, with a token or without. `call_id` is the call of the channel that sent the command,
    if a channel did. `request` are the program's own words.
    """

    pbx: str
    by: Actor
    owner_id: UUID | None = None
    may_dial: bool | None = None
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

    def __init__(
        self,
        catalogue: Catalogue,
        dialler: Dialler,
        callbacks: Callbacks,
        conferences: Conferences,
        may_dial: Collection[str],
    ) -> None:
        self._catalogue = catalogue
        self._dialler = dialler
        self._callbacks = callbacks
        self._conferences = conferences
        self._may_dial = frozenset(may_dial)

    def carry_out(self, command: Command, origin: CommandOrigin) -> CommandResult:
        """Carry out a command. Raises ProgramsMayNotDial, and the errors of the deed itself."""
        try:
            return self._carry_out(command, origin)
        except REFUSALS as error:
            self._audit_refusal(command, origin, error)
            raise

    def _carry_out(self, command: Command, origin: CommandOrigin) -> CommandResult:
        match command:
            case DialCommand():
                result = self._dial(command, origin)
            case HangUpCommand():
                result = self._hang_up(command, origin)
            case CallbackCommand():
                result = self._call_back(command, origin)
            case CancelCommand():
                result = self._cancel(command, origin)
            case OpenCommand():
                result = self._open(command, origin)
            case ConferenceCommand():
                result = self._change(command, origin)
            case AddCommand():
                result = self._add(command, origin)
            case MemberCommand():
                result = self._change_member(command, origin)
            case _:
                assert_never(command)
        return result

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

    def _call_back(self, command: CallbackCommand, origin: CommandOrigin) -> CommandResult:
        self._require_dial(origin)
        id_ = uuid7()
        self._keep_words(origin, str(id_))
        request = CallbackRequest(
            pbx=origin.pbx,
            phone=command.phone,
            number=command.number,
            at=command.at,
            name=command.name,
            note=command.note,
            call_id=origin.call_id,
            id=id_,
        )
        made = self._callbacks.make(request, by=origin.by, owner_id=origin.owner_id)
        next_at = {"next_at": made.next_at.isoformat()} if made.next_at is not None else {}
        return CommandResult(made.state, {"callback_id": str(made.id), **next_at})

    def _cancel(self, command: CancelCommand, origin: CommandOrigin) -> CommandResult:
        with self._catalogue.begin() as tx:
            found = callbacks.get_callback(tx, command.callback_id)
        if found.pbx != origin.pbx:
            raise NoSuchCallback(f"PBX {origin.pbx} has no call-back {command.callback_id}")
        ended = self._callbacks.cancel(command.callback_id, by=origin.by)
        return CommandResult(ended.state, {"callback_id": str(ended.id)})

    # Conferences

    def _open(self, command: OpenCommand, origin: CommandOrigin) -> CommandResult:
        id_ = uuid7()
        self._keep_words(origin, str(id_))
        made = self._conferences.open(
            origin.pbx,
            name=command.name,
            record=command.record,
            layout=command.layout,
            owner=command.owner,
            pin=command.pin,
            locked=command.locked,
            announce=command.announce,
            by=origin.by,
            owner_id=origin.owner_id,
            id_=id_,
        )
        return _conference_result(made)

    def _change(self, command: ConferenceCommand, origin: CommandOrigin) -> CommandResult:
        id_ = self._find_conference(command.name, origin).id
        by, owner_id = origin.by, origin.owner_id
        if command.do == "end":
            changed = self._conferences.end(id_, by=by, owner_id=owner_id)
        elif command.do == "record":
            changed = self._conferences.set_recorded(
                id_, recorded=command.record, by=by, owner_id=owner_id
            )
        else:
            changed = self._conferences.set_locked(
                id_, locked=command.do == "lock", by=by, owner_id=owner_id
            )
        return _conference_result(changed)

    def _add(self, command: AddCommand, origin: CommandOrigin) -> CommandResult:
        conference_id = self._find_conference(command.name, origin).id
        if command.destination is not None:
            self._require_dial(origin)
            id_ = uuid7()
            its_call = names.build_call_id(origin.pbx, names.build_person_id(id_))
            self._keep_words(origin, str(id_), its_call)
            member = self._conferences.invite(
                conference_id,
                command.destination,
                role=command.role,
                by=origin.by,
                owner_id=origin.owner_id,
                id_=id_,
            )
            return _member_result(member)
        call_id = command.call_id or origin.call_id
        if call_id is None:
            raise BadCommand("give either destination or call")
        if not names.is_call_of(call_id, origin.pbx):
            raise NoSuchCall(f"there is no call {call_id}")
        taken = self._conferences.take_in(
            conference_id, call_id, by=origin.by, owner_id=origin.owner_id
        )
        return _member_result(taken[0])

    def _change_member(self, command: MemberCommand, origin: CommandOrigin) -> CommandResult:
        conference = self._find_conference(command.name, origin)
        member_id = self._find_member(conference, command, origin).id
        by, owner_id = origin.by, origin.owner_id
        if command.do == "remove":
            changed = self._conferences.remove_member(
                conference.id, member_id, by=by, owner_id=owner_id
            )
            return _member_result(changed)
        wanted = {
            "mute": {"muted": True},
            "unmute": {"muted": False},
            "hold": {"on_hold": True},
            "unhold": {"on_hold": False},
        }[command.do]
        changed = self._conferences.change_member(
            conference.id, member_id, **wanted, by=by, owner_id=owner_id
        )
        return _member_result(changed)

    def _find_conference(self, name: str, origin: CommandOrigin) -> ConferenceRecord:
        """Return the open conference of this name. Raises NoSuchConference."""
        with self._catalogue.begin() as tx:
            found = conferences.find_open_conference(tx, origin.pbx, name)
        if found is None:
            raise NoSuchConference(f"PBX {origin.pbx} has no open conference {name}")
        return found

    def _find_member(
        self, conference: ConferenceRecord, command: MemberCommand, origin: CommandOrigin
    ) -> MemberRecord:
        """Return the newest member whom a command means. Raises NoSuchMember."""
        wanted = command.member or origin.call_id
        with self._catalogue.begin() as tx:
            members = conferences.list_members(tx, [conference.id], live_only=True)
        for one in reversed(members):
            if wanted in (str(one.id), one.destination, one.number, one.call_id, one.channel_id):
                return one
        raise NoSuchMember(f"conference {conference.name} has no member {wanted}")

    # Parts of every command

    def _require_dial(self, origin: CommandOrigin) -> None:
        """Raise ProgramsMayNotDial unless the token permits it, or the PBX for all its programs."""
        if origin.may_dial is False:
            raise ProgramsMayNotDial(f"the token of {origin.by.name} does not permit {CALLS_DIAL}")
        if origin.may_dial is None and origin.pbx not in self._may_dial:
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


def _conference_result(record: ConferenceRecord) -> CommandResult:
    return CommandResult(record.state, {"conference_id": str(record.id)})


def _member_result(record: MemberRecord) -> CommandResult:
    ids = {"member_id": str(record.id), "conference_id": str(record.conference_id)}
    return CommandResult(record.state, {**ids, "call_id": record.call_id})
