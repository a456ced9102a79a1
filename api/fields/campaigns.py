"""The fields of campaigns, their agents, and the numbers of their lists."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, model_validator

from api.fields.base import (
    Answer,
    Body,
    Instant,
    ListOf,
    ListQuery,
    Name,
    Text,
    fields_of,
)
from api.fields.callbacks import CallbackHours, LocalHours, Retries
from recorder.dialling.campaigns import ListReport, Shown
from recorder.rules.facts import SOUND
from storage.catalogue.campaigns import Progress
from storage.records import (
    CampaignAgent,
    CampaignAgentState,
    CampaignEntry,
    CampaignMode,
    CampaignRecord,
    CampaignState,
    EntryState,
)

MOST_AGENTS = 1000
Phones = Annotated[
    tuple[Text, ...],
    Field(
        max_length=MOST_AGENTS,
        description="the phones of its agents; each belongs to the agent of the endpoint's name",
        examples=[["PJSIP/2001", "PJSIP/2002"]],
    ),
]
WrapUp = Annotated[
    int,
    Field(ge=0, le=3600, description="an agent is ready again so many seconds after a talk"),
]
Queue = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_.-]{1,80}$",
        description="a queue of the PBX: the phones that are its members are agents too",
    ),
]
Announcement = Annotated[
    str,
    Field(
        pattern=SOUND,
        max_length=200,
        description="a sound that informs the customer of the recording; needs `record`",
    ),
]


class NewCampaign(Body):
    """A campaign without its list."""

    name: Name
    mode: CampaignMode = Field(
        description="`preview`: the agent sees a number and starts the call; `progressive`: an"
        " agent who is ready is reserved, and the call starts by itself. The agent's phone rings"
        " first, in both"
    )
    pbx: Name | None = Field(None, description="needed where several PBXs dial")
    agents: Phones = ()
    queue: Queue | None = None
    hours: LocalHours | None = Field(
        None, description="in the zones of each number; default: those of the configuration"
    )
    retry_after_s: Retries | None = None
    record: bool = False
    announce: Announcement | None = None
    wrap_up_s: WrapUp = 10

    @model_validator(mode="after")
    def _is_whole(self) -> "NewCampaign":
        if not self.agents and self.queue is None:
            raise ValueError("give agents or a queue")
        if self.announce is not None and not self.record:
            raise ValueError("announce needs record")
        return self


class ChangedCampaign(Body):
    """Fields of a campaign to change; a running one follows them with its next call."""

    name: Name | None = None
    agents: Phones | None = None
    hours: LocalHours | None = None
    retry_after_s: Retries | None = None
    wrap_up_s: WrapUp | None = None


class CampaignQuery(ListQuery):
    """The parameters that select campaigns."""

    state: CampaignState | None = None


class AgentOfCampaign(Answer):
    """An agent of a campaign."""

    agent: str
    phone: str = Field(examples=["PJSIP/2001"])
    state: CampaignAgentState = Field(
        description="`ready`: gets the next number; `reserved`: has one; `away`: gets none"
    )
    since: Instant
    ready_at: Instant | None = Field(description="the end of the wrap-up of the last call")
    entry_id: UUID | None = Field(description="the entry that is reserved, or is called now")


class Campaign(Answer):
    """A list of numbers to dial, for its agents."""

    id: UUID
    name: str
    pbx: str
    mode: CampaignMode
    state: CampaignState
    cause: str | None = Field(
        description="why it was paused by itself: `not-permitted` (its owner lost the right),"
        " `cannot-dial`. A draft has `list-incomplete` if its list was not read to the end"
    )
    hours: CallbackHours
    retry_after_s: list[int]
    record: bool
    announce: str | None
    wrap_up_s: int
    queue: str | None
    agents: list[AgentOfCampaign]
    created_at: Instant
    created_by: str
    started_at: Instant | None
    ended_at: Instant | None


class CampaignList(ListOf[Campaign]):
    """One part of the list of campaigns, newest first."""


class EntryQuery(ListQuery):
    """The parameters that select entries."""

    state: EntryState | None = None


class Entry(Answer):
    """A line of a campaign's list."""

    id: UUID
    line: int = Field(description="the number of the line in the file; the header is line 1")
    given: str = Field(description="the number as the list has it")
    number: str | None = Field(description="the number in E.164", examples=["+12025550123"])
    name: str | None
    consent: str | None
    data: dict[str, str] = Field(description="the other columns")
    zones: list[str] = Field(description="the time zones in which the number may be")
    state: EntryState
    cause: str | None = Field(
        description="the end of the last attempt, such as `busy`; or why it is refused:"
        " `not-a-number`, `number-refused`, `duplicate`, `line-invalid`, `do-not-call`,"
        " `no-hours` (no moment suits all zones)"
    )
    attempts: int = Field(description="how often the number was dialled")
    next_at: Instant | None = Field(description="the earliest time of the next attempt")
    agent: str | None = Field(description="the agent of the last or present attempt")


class EntryList(ListOf[Entry]):
    """One part of the list of entries, in the order of the file."""


class ListFault(Answer):
    """A line that became a refused entry."""

    line: int
    given: str
    cause: str
    reason: str


class ListResult(Answer):
    """The result of reading a list."""

    lines: int
    accepted: int
    refused: int
    faults: list[ListFault] = Field(description="the first 1,000 refused lines")


class Preview(Answer):
    """The number that an agent may call next."""

    entry: Entry | None = Field(description="null if no number is due")
    next_at: Instant | None = Field(description="the time to ask again, if known")


class HourOfCampaign(Answer):
    """The calls of one hour."""

    at: Instant = Field(description="the start of the hour")
    calls: int
    talks: int = Field(description="calls in which the customer answered")


class CampaignProgress(Answer):
    """Entries by state and by cause, and calls by hour."""

    states: dict[EntryState, int]
    causes: dict[str, int]
    hours: list[HourOfCampaign]


class AgentChange(Body):
    """Whether an agent takes calls of a campaign."""

    ready: bool


def campaign_fields(record: CampaignRecord, agents: Sequence[CampaignAgent]) -> dict[str, Any]:
    """Return the fields of a campaign with its agents."""
    return fields_of(Campaign, record, agents=[*map(agent_fields, agents)])


def agent_fields(record: CampaignAgent) -> dict[str, Any]:
    """Return the fields of an agent of a campaign."""
    return fields_of(AgentOfCampaign, record)


def entry_fields(record: CampaignEntry) -> dict[str, Any]:
    """Return the fields of an entry."""
    return fields_of(Entry, record, line=record.place)


def report_fields(report: ListReport) -> dict[str, Any]:
    """Return the fields of the result of reading a list."""
    faults = [
        {
            "line": one.entry.place,
            "given": one.entry.given,
            "cause": one.entry.cause,
            "reason": one.reason,
        }
        for one in report.faults
    ]
    accepted = report.lines - report.refused
    counts = {"lines": report.lines, "accepted": accepted, "refused": report.refused}
    return {**counts, "faults": faults}


def preview_fields(shown: Shown) -> dict[str, Any]:
    """Return the fields of a preview."""
    entry = entry_fields(shown.entry) if shown.entry is not None else None
    return {"entry": entry, "next_at": shown.next_at}


def progress_fields(progress: Progress) -> dict[str, Any]:
    """Return the fields of the progress of a campaign."""
    hours = [{"at": at, "calls": calls, "talks": talks} for at, calls, talks in progress.hours]
    return fields_of(CampaignProgress, progress, hours=hours)
