"""The commands of other programs: the fields of a user event, or the parameters of a URL. Pure.

    UserEvent(earwitness,action: dial,from: PJSIP/2001,to: 12025550123,record: yes,request: 7)
    UserEvent(earwitness,action: conference,do: open,name: monday,record: yes)

All fields are texts. A field that is empty counts as absent, because a dialplan writes `${X}` for
a variable that may have no value. A field that is unknown is refused, like one that is missing: a
misspelt `recrod` would otherwise leave a call without its recording.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar, cast, get_args
from uuid import UUID

from recorder.errors import BadCommand
from storage.records import Layout, MemberRole

Read = TypeVar("Read")

# The actions on the recording of a call are in recorder/recording/demand.py.
ConferenceDeed = Literal["end", "lock", "unlock", "record"]
MemberDeed = Literal["mute", "unmute", "hold", "unhold", "remove"]
DEEDS = ("open", *get_args(ConferenceDeed), "add", *get_args(MemberDeed))
LONGEST = 200
_YES, _NO = ("yes", "true", "1", "on"), ("no", "false", "0", "off")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,79}")
_PIN = re.compile(r"[0-9]{3,12}")


@dataclass(frozen=True, slots=True)
class DialCommand:
    """Ring a phone, then dial a number."""

    phone: str
    number: str
    record: bool | None = None
    announce: str | None = None


@dataclass(frozen=True, slots=True)
class HangUpCommand:
    """End a call that we dialled, before the number has answered."""

    call_id: str


@dataclass(frozen=True, slots=True)
class CallbackCommand:
    """Call a number back at a time, None is as soon as possible."""

    phone: str
    number: str
    at: datetime | None = None
    name: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """Cancel a call-back."""

    callback_id: UUID


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """Open a conference."""

    name: str
    record: bool = False
    layout: Layout | None = None
    owner: str | None = None
    pin: str | None = None
    locked: bool = False
    announce: bool = False


@dataclass(frozen=True, slots=True)
class ConferenceCommand:
    """End, lock or record a conference; `record` is the wish of the deed `record`."""

    name: str
    do: ConferenceDeed
    record: bool = True


@dataclass(frozen=True, slots=True)
class AddCommand:
    """Call a destination into a conference, or take a live call in.

    Without both it is the call whose channel sent the command.
    """

    name: str
    destination: str | None = None
    call_id: str | None = None
    role: MemberRole | None = None


@dataclass(frozen=True, slots=True)
class MemberCommand:
    """Mute, hold or remove a member: the one of this id, phone, number or call.

    Without `member` it is the one whose channel sent the command.
    """

    name: str
    do: MemberDeed
    member: str | None = None


Command = (
    DialCommand
    | HangUpCommand
    | CallbackCommand
    | CancelCommand
    | OpenCommand
    | ConferenceCommand
    | AddCommand
    | MemberCommand
)


def parse_command(fields: Mapping[str, object]) -> Command:
    """Return the command of these fields; `action` names it. Raises BadCommand.

    Example: `{"action": "dial", "from": "PJSIP/2001", "to": "12025550123"}`.
    """
    given = _Fields(fields)
    action = given.take("action")
    parse = _PARSERS.get(action)
    if parse is None:
        raise BadCommand(f"action: expected one of {', '.join(_PARSERS)}")
    command = parse(given)
    given.refuse_rest()
    return command


def _parse_dial(given: "_Fields") -> Command:
    if given.read("do", _one_of(("hang-up",))) is not None:
        return HangUpCommand(given.take("call"))
    record, announce = given.read("record", _parse_bool), given.find("announce")
    if announce is not None and not record:
        raise BadCommand("announce: needs record")
    return DialCommand(given.take("from"), given.take("to"), record, announce)


def _parse_callback(given: "_Fields") -> Command:
    if given.read("do", _one_of(("cancel",))) is not None:
        return CancelCommand(given.require("callback", _parse_uuid))
    return CallbackCommand(
        phone=given.take("from"),
        number=given.take("to"),
        at=given.read("at", _parse_time),
        name=given.find("name"),
        note=given.find("note"),
    )


def _parse_conference(given: "_Fields") -> Command:
    do = given.require("do", _one_of(DEEDS))
    name = given.require("name", _parse_name)
    if do == "open":
        return OpenCommand(
            name,
            record=given.read("record", _parse_bool) or False,
            layout=cast("Layout | None", given.read("layout", _one_of(get_args(Layout)))),
            owner=given.find("owner"),
            pin=given.read("pin", _parse_pin),
            locked=given.read("locked", _parse_bool) or False,
            announce=given.read("announce", _parse_bool) or False,
        )
    if do == "add":
        destination, call_id = given.find("destination"), given.find("call")
        if destination is not None and call_id is not None:
            raise BadCommand("give either destination or call")
        role = cast("MemberRole | None", given.read("role", _one_of(get_args(MemberRole))))
        return AddCommand(name, destination, call_id, role)
    if do in get_args(MemberDeed):
        return MemberCommand(name, cast("MemberDeed", do), given.find("member"))
    record = given.require("record", _parse_bool) if do == "record" else True
    return ConferenceCommand(name, cast("ConferenceDeed", do), record)


def _is_utf8(text: str) -> bool:
    """Whether UTF-8 has these characters: JSON can also hold half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Fields:
    """The fields of a command; each is taken once."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        texts = {name: str(value).strip() for name, value in fields.items() if value is not None}
        self._texts = {name: text for name, text in texts.items() if text}
        for name, text in self._texts.items():
            if len(text) > LONGEST or "\0" in text or not _is_utf8(text):
                raise BadCommand(f"{name}: expected at most {LONGEST} characters, without NUL")

    def find(self, name: str) -> str | None:
        """Return a field, or None without it."""
        return self._texts.pop(name, None)

    def take(self, name: str) -> str:
        """Return a field. Raises BadCommand without it."""
        return self.require(name, str)

    def read(self, name: str, parse: Callable[[str], Read]) -> Read | None:
        """Return a field as `parse` reads it, or None without it. Raises BadCommand."""
        text = self.find(name)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise BadCommand(f"{name}: {error}") from None

    def require(self, name: str, parse: Callable[[str], Read]) -> Read:
        """Return a field as `parse` reads it. Raises BadCommand without it."""
        found = self.read(name, parse)
        if found is None:
            raise BadCommand(f"{name}: is missing")
        return found

    def refuse_rest(self) -> None:
        """Raise BadCommand if a field was not taken."""
        if self._texts:
            raise BadCommand(f"{', '.join(sorted(self._texts))}: unknown")


_PARSERS: Mapping[str, Callable[[_Fields], Command]] = {
    "dial": _parse_dial,
    "callback": _parse_callback,
    "conference": _parse_conference,
}


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word not in _YES + _NO:
        raise ValueError("expected yes or no")
    return word in _YES


def _parse_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("expected RFC 3339 with an offset, such as 2026-11-23T18:00:00Z")
    return at


def _parse_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("expected an id") from None


def _parse_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("expected letters, digits, - and _")
    return text


def _parse_pin(text: str) -> str:
    if not _PIN.fullmatch(text):
        raise ValueError("expected 3 to 12 digits")
    return text


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return read
