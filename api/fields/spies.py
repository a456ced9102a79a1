"""The fields of spies."""

from typing import Any
from uuid import UUID

from pydantic import Field

from api.fields.base import Answer, Body, Instant, ListOf, ListQuery, Text, fields_of
from storage.records import EndCause, Follow, Mode, SpyRecord, SpyState


class HeardSpan(Answer):
    """A span of time in which the supervisor heard a call."""

    from_at: Instant = Field(alias="from")
    to_at: Instant | None = Field(alias="to", description="null while it lasts")
    call_id: str


class Spy(Answer):
    """A supervisor's session on a live call."""

    id: UUID
    call_id: str = Field(description="the present call; with `follow: agent` it changes")
    pbx: str
    mode: Mode
    destination: str = Field(examples=["PJSIP/9001", "browser"])
    state: SpyState
    cause: EndCause | None = Field(description="why it ended; null before the end")
    supervisor: str = Field(description="the name of the token that started it")
    follow: Follow
    started_at: Instant
    live_at: Instant | None = Field(
        description="the time at which the phone was answered or the page connected"
    )
    ended_at: Instant | None
    heard: list[HeardSpan] = Field(description="the spans that the supervisor heard, by call")
    unheard: bool = Field(
        description="whether nobody hears the supervisor, who whispers or barges, because the PBX"
        " sends nothing to the parties; true within a second"
    )
    audio_url: str | None = Field(
        description="a WebSocket with the call's audio until the spy ends; keep it secret. Only"
        " the answer to the start of a spy in the browser has it; null otherwise"
    )


class SpyList(ListOf[Spy]):
    """One part of the list of spies."""


class SpyQuery(ListQuery):
    """The parameters that select spies."""

    state: SpyState | None = Field(None, description="default: every spy that has not ended")


class NewSpy(Body):
    """The mode of a spy, and its destination."""

    mode: Mode = Field(
        description="`listen`: the supervisor hears both and is heard by none; `whisper`: the"
        " agent alone hears the supervisor; `barge`: all hear the supervisor"
    )
    destination: Text = Field(
        description="a phone to ring, or `browser`", examples=["PJSIP/9001", "browser"]
    )
    follow: Follow = Field(
        "call",
        description="`call`: as long as the call lives, through transfers; `agent`: the agent's"
        " next calls too; `channel`: the agent's present channel alone",
    )


class ChangedSpy(Body):
    """The new mode of a spy."""

    mode: Mode


def spy_fields(record: SpyRecord, audio_url: str | None = None) -> dict[str, Any]:
    """Return the fields of a spy."""
    heard = [fields_of(HeardSpan, span) for span in record.heard]
    return fields_of(Spy, record, heard=heard, audio_url=audio_url)
