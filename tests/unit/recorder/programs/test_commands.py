"""Commands of programs: the fields of user events become commands, or a reason."""

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import BadCommand
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
    parse_command,
)

ID = "01a20b94-8aa2-748d-802f-3134349fb921"
PHONES = {"from": "PJSIP/2001", "to": "12025550123"}
ROOM = {"action": "conference", "name": "monday"}


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"action": "dial", **PHONES}, DialCommand("PJSIP/2001", "12025550123")),
        (
            {"action": "dial", **PHONES, "record": "Yes", "announce": "sound:beep"},
            DialCommand("PJSIP/2001", "12025550123", record=True, announce="sound:beep"),
        ),
        (
            {"action": "dial", **PHONES, "record": "0", "announce": ""},
            DialCommand("PJSIP/2001", "12025550123", record=False),
        ),
        ({"action": "dial", "do": "hang-up", "call": "main-1.0"}, HangUpCommand("main-1.0")),
        ({"action": "callback", **PHONES}, CallbackCommand("PJSIP/2001", "12025550123")),
        (
            {"action": "callback", **PHONES, "at": "2026-11-30T09:00:00+01:00", "name": "Bo"},
            CallbackCommand(
                "PJSIP/2001", "12025550123", at=datetime(2026, 11, 30, 8, tzinfo=UTC), name="Bo"
            ),
        ),
        ({"action": "callback", "do": "cancel", "callback": ID}, CancelCommand(UUID(ID))),
        ({**ROOM, "do": "open"}, OpenCommand("monday")),
        (
            {
                **ROOM,
                "do": "open",
                "record": "yes",
                "layout": "tracks",
                "owner": "PJSIP/2001",
                "pin": "4711",
                "locked": "no",
                "announce": "on",
            },
            OpenCommand("monday", True, "tracks", "PJSIP/2001", "4711", False, True),
        ),
        ({**ROOM, "do": "end"}, ConferenceCommand("monday", "end")),
        ({**ROOM, "do": "lock"}, ConferenceCommand("monday", "lock")),
        (
            {**ROOM, "do": "record", "record": "no"},
            ConferenceCommand("monday", "record", record=False),
        ),
        (
            {**ROOM, "do": "add", "destination": "PJSIP/2003", "role": "guest"},
            AddCommand("monday", destination="PJSIP/2003", role="guest"),
        ),
        ({**ROOM, "do": "add", "call": "main-1.0"}, AddCommand("monday", call_id="main-1.0")),
        ({**ROOM, "do": "add"}, AddCommand("monday")),
        ({**ROOM, "do": "mute", "member": ID}, MemberCommand("monday", "mute", ID)),
        ({**ROOM, "do": "remove"}, MemberCommand("monday", "remove")),
    ],
)
def test_fields_become_a_command(fields: dict[str, str], command: Command) -> None:
    """Each command has its fields; an empty field counts as absent."""
    assert parse_command(fields) == command


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "action: is missing"),
        ({"action": "sing"}, "action: expected one of dial, callback, conference"),
        ({"action": "dial", "from": "PJSIP/2001"}, "to: is missing"),
        ({"action": "dial", **PHONES, "recrod": "yes"}, "recrod: unknown"),
        ({"action": "dial", **PHONES, "announce": "sound:beep"}, "announce: needs record"),
        ({"action": "dial", **PHONES, "record": "maybe"}, "record: expected yes or no"),
        (
            {"action": "dial", **PHONES, "record": "yes", "announce": "x" * 201},
            "announce: expected at most 200",
        ),
        ({"action": "callback", **PHONES, "at": "2026-11-30 09:00"}, "at: expected RFC 3339"),
        ({"action": "callback", **PHONES, "at": "noon"}, "at: expected RFC 3339"),
        ({"action": "callback", "do": "cancel", "callback": "7"}, "callback: expected an id"),
        ({"action": "callback", **PHONES, "name": "a\ud800"}, "name: expected at most"),
        ({**ROOM, "do": "dance"}, "do: expected one of open, end"),
        ({"action": "conference", "do": "open"}, "name: is missing"),
        ({**ROOM, "do": "open", "name": "a b"}, "name: expected letters"),
        ({**ROOM, "do": "open", "pin": "12"}, "pin: expected 3 to 12 digits"),
        ({**ROOM, "do": "open", "layout": "stereo"}, "layout: expected one of dual, mono, tracks"),
        ({**ROOM, "do": "record"}, "record: is missing"),
        ({**ROOM, "do": "add", "destination": "PJSIP/1", "call": "m-1"}, "give either"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, str], reason: str) -> None:
    """A field that is missing, wrong or unknown is refused by its name."""
    with pytest.raises(BadCommand) as refused:
        parse_command(fields)
    assert str(refused.value).startswith(reason)


words = st.one_of(st.none(), st.integers(), st.text(max_size=30))
names = st.sampled_from(["action", "do", "from", "to", "name", "at", "record", "pin", "member"])
actions = st.sampled_from(["dial", "callback", "conference"])


@given(st.dictionaries(names, words), st.one_of(words, actions))
def test_any_fields_are_a_command_or_refused(fields: dict[str, object], action: object) -> None:
    """Whatever a program sends, the answer is a command or a reason, and no crash."""
    with suppress(BadCommand):
        parse_command(fields | {"action": action})
