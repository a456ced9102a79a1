"""The warnings of `doctor` about builds of Asterisk that are known to be bad."""

from types import SimpleNamespace
from typing import Any

import pytest

from earwitness.config import Pbx
from earwitness.doctor import MODULES, SPY_MODULES, Finding, examine_pbx

UPSTREAM, DEBIAN = "22.10.1", "22.10.1+dfsg+~cs6.17.60671434-1"
BULLSEYE = "16.28.0~dfsg-0+deb11u8"


class Ari:
    """A healthy PBX of this version and with this timing module."""

    def __init__(self, version: str, timing: str) -> None:
        self._version = version
        self._modules = [*MODULES, *SPY_MODULES, "chan_rtp", *timing.split()]

    def get_info(self) -> Any:
        return SimpleNamespace(version=self._version)

    def list_modules(self) -> Any:
        return [SimpleNamespace(name=f"{one}.so", status="Running") for one in self._modules]

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


def examine(version: str = UPSTREAM, timing: str = "res_timing_timerfd") -> dict[str, Finding]:
    """Return the findings about a PBX, by the name of the check."""
    wiring: Any = SimpleNamespace(pbxs={"main": Ari(version, timing)})
    found = examine_pbx(wiring, Pbx())
    return {one.name.removeprefix("pbx main "): one for one in found}


@pytest.mark.parametrize(
    ("version", "expected"),
    [(UPSTREAM, ""), (BULLSEYE, ""), ("22.11.0", "issue 2134"), (DEBIAN, "this Debian build")],
)
def test_bad_builds_are_warnings(version: str, expected: str) -> None:
    """`doctor` warns of a build that spins under whispers and of Debian's patch, and no other."""
    found = examine(version)["version"]
    assert found.ok
    assert found.warns is bool(expected)
    assert expected in found.text


def test_too_old_an_asterisk_fails() -> None:
    """Asterisk 13 has no external media: it is refused, not warned of."""
    assert not examine("13.38.3")["version"].ok


@pytest.mark.parametrize(
    ("timing", "ok", "warns", "text"),
    [
        ("res_timing_timerfd", True, False, "by res_timing_timerfd"),
        ("res_timing_timerfd res_timing_dahdi", True, True, "issue 1482"),
        ("", False, False, "no timing module"),
    ],
)
def test_timing_by_dahdi_is_a_warning(timing: str, ok: bool, warns: bool, text: str) -> None:
    """Snoops flood the log under res_timing_dahdi, and need some timing module."""
    found = examine(timing=timing)["timing"]
    assert (found.ok, found.warns) == (ok, warns)
    assert text in found.text
