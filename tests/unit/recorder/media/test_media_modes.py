"""The gate between a page's microphone and the PBX."""

from itertools import product
from typing import get_args

import pytest

from recorder.media.modes import ModeGate
from storage.records import Mode

MODES: tuple[Mode, ...] = get_args(Mode)


def gate(written: Mode, on_pbx: Mode | None, acknowledged: object) -> ModeGate:
    """Return a gate in this state."""
    made = ModeGate(written)
    made.on_pbx, made.acknowledged = on_pbx, acknowledged
    return made


OPEN = {
    ("whisper", "whisper", None),
    ("whisper", "whisper", "whisper"),
    ("whisper", "listen", None),
    ("whisper", "listen", "whisper"),
    ("barge", "barge", None),
    ("barge", "barge", "barge"),
    ("barge", "listen", None),
    ("barge", "listen", "barge"),
}


@pytest.mark.parametrize(
    "state", [*product(MODES, (*MODES, None), (*MODES, None, "shout", 7))], ids=str
)
def test_the_gate_is_open_in_these_states_alone(state: tuple[Mode, Mode | None, object]) -> None:
    """Speech goes on where row, PBX and page agree; the PBX may be at listen, the page silent."""
    assert gate(*state).may_send() is (state in OPEN)


def test_a_new_gate_is_closed() -> None:
    """A page sends nothing before the PBX was brought to its mode."""
    fresh = ModeGate("barge")
    assert (fresh.written, fresh.on_pbx, fresh.acknowledged) == ("barge", None, None)
    assert not fresh.may_send()


ON_ITS_WAY = {
    ("listen", "whisper", "listen"),
    ("listen", "whisper", "barge"),
    ("listen", "barge", "listen"),
    ("listen", "barge", "whisper"),
}


@pytest.mark.parametrize(("on_pbx", "before", "mode"), [*product((*MODES, None), MODES, MODES)])
def test_only_a_second_switch_from_listen_makes_the_pbx_unknown(
    on_pbx: Mode | None, before: Mode, mode: Mode
) -> None:
    """From listen the PBX may be on its way to the mode before: wait for it at any other mode."""
    switched = gate(before, on_pbx, None)
    switched.write(mode)
    assert switched.written == mode
    assert switched.on_pbx == (None if (on_pbx, before, mode) in ON_ITS_WAY else on_pbx)


@pytest.mark.parametrize("on_pbx", [*MODES, None])
def test_other_supervisors_hear_a_barge_alone(on_pbx: Mode | None) -> None:
    """A page speaks into the listening bridge only while the PBX is at barge."""
    assert gate("barge", on_pbx, None).reaches_listeners() is (on_pbx == "barge")
