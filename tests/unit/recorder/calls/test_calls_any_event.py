"""The call model under messages that no Asterisk sends."""

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recorder import ari
from recorder.ari.model import parse_event
from recorder.calls.model import CallModel

HERE = Path(__file__)
CAPTURED: list[dict[str, Any]] = [
    json.loads(line)
    for line in (HERE.parents[1] / "ari" / "captured.jsonl").read_text().splitlines()
]
IDS = ("c1", "c2", "", "x" * 10_000, "Ü\u202e", "a/b;1", "earwitness-1")
# A field and its other value: of channels and bridges, by their names wherever they stand.
FIELDS = {
    "id": IDS,
    "name": ("PJSIP/2001-00000001", "PJSIP/trunk-0", "Local/x@y-1;2", "", "/", "-"),
    "state": ("Up", "Ring", "Down", "", "never"),
    "number": ("", "2001", "+12025550123", "\0", "9" * 10_000),
    "bridge_type": ("mixing", "holding", ""),
    "channels": ([], ["c1"], ["c1", "c1", "c2"], list(IDS)),
    "creationtime": ("0001-01-01T00:00:00.000+0000", "9999-12-31T23:59:59.999+0000"),
    "timestamp": ("0001-01-01T00:00:00.000+0000", "9999-12-31T23:59:59.999+0000"),
    "exten": ("", "s", "h"),
    "app_name": ("", "Stasis", "Queue", "AppDial"),
}
changes = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 6), max_size=4)
linkedids = st.sampled_from(["c1", "c2", "", "other"])


def change(body: Any, changed: dict[str, int]) -> Any:
    """Return a copy of a message, with other values in the fields of these names."""
    if isinstance(body, list):
        return [change(one, changed) for one in body]
    if not isinstance(body, dict):
        return body
    return {
        name: FIELDS[name][changed[name] % len(FIELDS[name])]
        if name in changed
        else change(value, changed)
        for name, value in body.items()
    }


@given(st.lists(st.tuples(st.sampled_from(CAPTURED), changes, linkedids), max_size=30))
def test_no_message_breaks_the_model(
    sent: list[tuple[dict[str, Any], dict[str, int], str]],
) -> None:
    """Any messages leave calls in a known state, in texts that can be stored."""
    model, known = CallModel("main", ["PJSIP/trunk*"]), set()
    for body, changed, linkedid in sent:
        try:
            event = parse_event(change(copy.deepcopy(body), changed))
        except ari.AriProtocolError:
            continue
        needed = dict.fromkeys(model.linkedids_needed(event), linkedid)
        known |= model.apply(event, needed)
    for call_id in known:
        call = model.record(call_id)
        assert call.state in ("ringing", "up", "ended")
        assert "\0" not in f"{call.id}{call.caller_number}{call.callee_number}".encode().decode()
