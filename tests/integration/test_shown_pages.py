"""The pages: parts of lists, refusals, and translations."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from api_client import NOW, ApiClient, TokenMaker, build_call, build_recording

from storage.catalogue import calls, decisions, recordings
from storage.catalogue.engine import Catalogue
from storage.records import Assurance, DecisionRecord, Gap, RecordingParty

SHORT = Assurance(10.0, 4.5, "has-gaps")
Show = Callable[..., str]


@pytest.fixture
def show(client: ApiClient, make_token: TokenMaker) -> Show:
    """Return a function that opens a page as an administrator; `of` names a part of it."""
    token = make_token(name="shown", role="admin")
    browser = client.application.test_client()

    def opened(path: str, *, of: str = "", language: str = "en") -> str:
        headers = {"Authorization": f"Bearer {token}", "Accept-Language": language}
        part = {"HX-Request": "true", "HX-Target": of} if of else {}
        return browser.get(path, headers=headers | part).text

    return opened


@pytest.fixture(scope="module", autouse=True)
def _short_calls(catalogue: Catalogue) -> None:
    """Store 25 short calls; one of them has a failed recording."""
    with catalogue.begin() as tx:
        for place in range(25):
            call = build_call(
                id=f"main-short-{place}",
                state="ended",
                caller_number=f"1202555{place:04}",
                caller_name="Dana" if place == 24 else None,
                started_at=NOW + timedelta(minutes=place),
            )
            calls.save_calls(tx, [call])
            decisions.save_decisions(tx, [DecisionRecord(call.id, "record", None, "", ())])
            decisions.save_assurances(tx, {call.id: SHORT})
        kept = build_recording(call_id="main-short-24", state="failed", direction="outbound")
        kept = replace(kept, caller_number="2001", callee_number="12025550123", agent="2001")
        reason = "no-audio-on-pbx"
        gaps = (Gap(1.0, 2.0, "pbx-lost"), Gap(3.0, 4.0, "a word of the PBX"))
        recordings.create_recording(tx, replace(kept, reason=reason, gaps=gaps))


def test_missing_recordings_are_listed_in_parts(show: Show, catalogue: Catalogue) -> None:
    """The list continues behind its first part, and links to the recording of a call."""
    with catalogue.begin() as tx:
        (kept,) = recordings.list_recordings_of_calls(tx, ["main-short-24"])
    first = show("/system")
    assert f'href="/recordings/{kept.id}"' in first
    assert ("Dana" in first, "main-short-5" in first, "main-short-4<" in first) == (
        True,
        True,
        False,
    )
    more = first.partition('<tr id="more">')[2].partition('href="')[2].partition('"')[0]
    rest = show(more, of="more")
    assert rest.count("main-short-") == 5
    assert ("12025550004" in rest, "<html" in rest, 'id="more"' in rest) == (True, False, False)
    assert "<html" in show(more)


def test_an_outgoing_call_shows_the_called_number(show: Show, catalogue: Catalogue) -> None:
    """In an outgoing call the caller is the agent, and the other side is the number called."""
    with catalogue.begin() as tx:
        (kept,) = recordings.list_recordings_of_calls(tx, ["main-short-24"])
    assert "<bdi>2001</bdi> ⇄ <bdi>12025550123</bdi>" in show(f"/recordings/{kept.id}")


def test_who_was_in_a_recording(show: Show, catalogue: Catalogue) -> None:
    """Each party has a row with its spans, a barging supervisor too; an open span has no end."""
    parties = (
        RecordingParty("customer", "12025550123", "Ann", "left", ((0.0, 65.4),)),
        RecordingParty("agent", "2001", None, "right", ((0.0, 20.0), (30.0, None)), "2001"),
        RecordingParty("supervisor", None, "Sam", "right", ((40.0, 50.0),)),
    )
    kept = replace(build_recording(), parties=parties, duration_s=80.0)
    other = replace(build_recording(), parties=parties[:1], duration_s=None)
    with catalogue.begin() as tx:
        for one in (kept, other):
            recordings.create_recording(tx, one)
    page = show(f"/recordings/{kept.id}")
    shown = " ".join(re.sub(r"<[^>]+>", " ", page).replace("\N{EN DASH}", "-").split())
    assert "Ann 12025550123 Customer 0:00-1:05" in shown
    assert "2001 Agent 0:00-0:20 , 0:30-" in shown
    assert "Sam Supervisor 0:40-0:50" in shown
    assert '<rect x="500.0" width="125.0" height="1"/>' in page
    assert '<rect x="375.0" width="625.0" height="1"/>' in page
    assert "Who was in it" in show(f"/recordings/{other.id}")
    assert "goes on" not in page


def test_recordings_that_continue_each_other_are_linked(show: Show, catalogue: Catalogue) -> None:
    """The recording that ended by a merge leads to the one that goes on, and back."""
    ended, going = build_recording(), build_recording()
    with catalogue.begin() as tx:
        recordings.create_recording(tx, replace(ended, continued_in=going.id))
        recordings.create_recording(tx, replace(going, continues=ended.id))
    assert f'<a href="/recordings/{going.id}">' in show(f"/recordings/{ended.id}")
    assert f'<a href="/recordings/{ended.id}">' in show(f"/recordings/{going.id}")


def test_why_there_is_no_audio(show: Show, catalogue: Catalogue) -> None:
    """A recording without audio shows its state and its reason, as two sentences."""
    with catalogue.begin() as tx:
        (kept,) = recordings.list_recordings_of_calls(tx, ["main-short-24"])
    shown = show(f"/recordings/{kept.id}")
    assert "There is no audio now: failed. The PBX holds no audio of it.<" in shown


def test_in_another_language(show: Show, catalogue: Catalogue) -> None:
    """Codes are shown in the language of the page, and an unknown one as it is."""
    with catalogue.begin() as tx:
        (kept,) = recordings.list_recordings_of_calls(tx, ["main-short-24"])
    page = show(f"/recordings/{kept.id}", language="ar")
    for words in ("لا صوت له في المقسم.", "كان المقسم غائبًا", "a word of the PBX"):
        assert words in page
    system = show("/system", language="ar")
    assert ("has-gaps" in system, "فيه فجوات" in system) == (False, True)
    fault = show("/library?min_duration_s=-1", language="ar")
    assert "أطول من (بالثواني): اكتب عددًا، 0 أو أكثر." in fault


@pytest.mark.parametrize(("field", "label"), [("from=0001-01-01", "From"), ("to=9999-12-31", "To")])
def test_a_wrong_day_is_named(show: Show, field: str, label: str) -> None:
    """A wrong day is named with its field and its correction."""
    page = show(f"/library?zone=Asia/Tokyo&{field}")
    assert f"<p>{label}: Write a day such as 2026-11-23.</p>" in page


def test_a_failed_part_is_a_problem(show: Show) -> None:
    """A failed page is a page, and a failed part is a problem document."""
    absent = "/recordings/01a21561-8b4c-77fc-8ec4-3e8044f73899"
    for path in (absent, "/nothing"):
        assert "There is no such" in show(path, of="page")
    assert '"error_id"' in show("/nothing", of="tags")
