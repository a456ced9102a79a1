"""A call that is announced is recorded once, whatever comes meanwhile."""

import threading
from collections.abc import Callable, Collection
from typing import Any, cast
from uuid import uuid4

from api_client import build_call

from lab.waiting import until
from recorder.recording.decisions import Decisions
from recorder.rules.book import RuleBook
from recorder.rules.decide import Decision
from storage.catalogue import calls, decisions
from storage.catalogue.engine import Catalogue
from storage.records import DecisionRecord, RuleRecord
from tests.legs import leg

RULE = RuleRecord("r", 1, "told", "", "record", 1, "api", announcement="sound:told")


class Sounds:
    """Everybody hears everything at once; what takes long is done beside."""

    def play(self, channel_ids: Collection[str], _: object) -> bool:
        return bool(channel_ids)

    def do(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()


class Capture:
    """Takes its time to begin."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_go_on = threading.Event()

    def start(self, call_id: str, **_: Any) -> None:
        self.began.append(call_id)
        assert self.may_go_on.wait(10)


def test_asked_again_while_it_begins(catalogue: Catalogue) -> None:
    """All were told, and the recording is about to begin: nobody else begins another."""
    legs = (leg("1", party="customer", bridge_id="b"), leg("2", bridge_id="b"))
    call = build_call(id=f"main-{uuid4()}", state="up", channels=legs)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        decisions.save_decisions(tx, [DecisionRecord(call.id, "record", None, "r", ())])
    capture = Capture()
    book = RuleBook(catalogue, (), "never")
    parts = cast("Any", (catalogue, None, Sounds(), capture, book))
    asked, decision = Decisions(*parts), Decision("record", RULE, (), "r")
    assert not asked._obey(call, decision)
    until(lambda: capture.began == [call.id])
    for _ in range(3):
        assert not asked._obey(call, decision)
    capture.may_go_on.set()
    until(lambda: not asked._announcing)
    assert capture.began == [call.id]
