"""The parameters of commands from a dialplan, all of them texts: see docs/programs.md.

The command itself is parsed in the recorder, so that `CURL()` and a user event have one grammar,
and a dialplan gets one line that names the wrong field.
"""

from typing import Any

from pydantic import Field

from api.fields.base import Query, Text


class CommandQuery(Query):
    """The parameters that every command has."""

    do: Text | None = Field(None, description="the deed, where the command has several")
    request: Text | None = Field(None, description="words of your own; events repeat them")
    pbx: Text | None = Field(None, description="needed if several PBXs are configured")

    def fields(self, action: str) -> dict[str, Any]:
        """Return the fields of the command, as a user event has them."""
        given = self.model_dump(by_alias=True, exclude_none=True, exclude={"request", "pbx"})
        return {**given, "action": action}


class DialCommandQuery(CommandQuery):
    """The parameters of `dial`."""

    from_phone: Text | None = Field(None, alias="from", examples=["PJSIP/2001"])
    to: Text | None = Field(None, examples=["12025550123"])
    record: Text | None = Field(None, description="`yes` or `no`")
    announce: Text | None = Field(None, description="a sound before the recording")
    call: Text | None = Field(None, description="with `do=hang-up`: the id of a dialled call")


class CallbackCommandQuery(CommandQuery):
    """The parameters of `callback`."""

    from_phone: Text | None = Field(None, alias="from", examples=["PJSIP/2001"])
    to: Text | None = Field(None, examples=["12025550123"])
    at: Text | None = Field(None, description="RFC 3339; default: as soon as possible")
    name: Text | None = None
    note: Text | None = None
    callback: Text | None = Field(None, description="with `do=cancel`: the id of a call-back")


class ConferenceCommandQuery(CommandQuery):
    """The parameters of `conference`."""

    name: Text | None = Field(None, examples=["monday"])
    record: Text | None = Field(None, description="`yes` or `no`")
    layout: Text | None = None
    owner: Text | None = Field(None, examples=["PJSIP/2001"])
    pin: Text | None = None
    locked: Text | None = Field(None, description="`yes` or `no`")
    announce: Text | None = Field(None, description="`yes` or `no`")
    destination: Text | None = Field(None, examples=["PJSIP/2003", "12025550123"])
    call: Text | None = Field(None, description="the id of a live call to take in")
    role: Text | None = Field(None, description="`owner`, `member` or `guest`")
    member: Text | None = Field(None, description="a member's id, phone, number or call")
