"""The PBXs of a process."""

import pytest

from recorder.ari import Ari, AriNotFound
from recorder.ari.pbxs import Pbxs
from recorder.errors import PbxUnavailable, SpyEnded


def one_pbx() -> tuple[Ari, Pbxs]:
    """Return a client that is never connected, and the PBXs of a process that has it as `main`."""
    ari = Ari("http://127.0.0.1:1", "user", "secret", "application")
    return ari, Pbxs({"main": ari})


def test_reach_yields_the_client_of_that_name() -> None:
    """The block gets the client of the named PBX."""
    ari, pbxs = one_pbx()
    with pbxs.reach("main") as reached:
        assert reached is ari
    assert (pbxs["main"], list(pbxs), len(pbxs)) == (ari, ["main"], 1)


def test_an_unknown_pbx_is_unavailable() -> None:
    """A PBX that this process does not know is unavailable, and the message names it."""
    _, pbxs = one_pbx()
    with pytest.raises(PbxUnavailable, match="no PBX named branch"), pbxs.reach("branch"):
        pytest.fail("the block has run")


def test_an_ari_error_of_the_block_becomes_pbx_unavailable() -> None:
    """An ARI error names its PBX and keeps its cause."""
    _, pbxs = one_pbx()
    cause = AriNotFound("no such channel", method="GET", path="/channels/7", status=404)
    with pytest.raises(PbxUnavailable, match=r"^PBX main: ") as caught, pbxs.reach("main"):
        raise cause
    assert caught.value.__cause__ is cause


def test_other_errors_pass() -> None:
    """An error that does not come from ARI leaves the block unchanged."""
    _, pbxs = one_pbx()
    with pytest.raises(SpyEnded), pbxs.reach("main"):
        raise SpyEnded("the spy is over")
