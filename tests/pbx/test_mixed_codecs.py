"""Calls whose parties speak different codecs, and change them in a transfer."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ears import cut_out
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.root import ensure_root, root_directory
from lab.world import World
from tests.pbx.talks import assert_hears, begin
from tests.service import Service


@pytest.fixture(scope="module")
def mixed() -> Iterator[World]:
    """Start a PBX whose trunk speaks µ-law, its first agent G.722, and its second one Opus."""
    codecs = {"trunk": "ulaw", "2001": "g722", "2003": "opus"}
    with World(ensure_root(root_directory()), codecs_of=codecs) as world:
        yield world


def test_a_change_of_codec_keeps_the_sides_in_time(mixed: World) -> None:
    """The customer's voice has its pitch until the end, and a file that was too slow is marked."""
    with tempfile.TemporaryDirectory(prefix="earwitness-test-") as folder:
        service = Service(Path(folder), mixed.pbx, record_all=True, format="flac")
        service.start()
        try:
            talk = begin(service, mixed)
            talk.talk_until(3)
            talk.call.blind_transfer(to="2003")
            talk.talk_until(8)
            recording, rate, sides, talked_s = talk.end()
            manifest = service.get(f"/recordings/{recording['id']}/manifest")
        finally:
            assert service.stop() == 0
    assert sides.shape[1] / rate == pytest.approx(talked_s, abs=0.5)
    for from_s, to_s, agent_hz in ((0.5, 2.5, AGENT_HZ["2001"]), (4, 7.5, AGENT_HZ["2003"])):
        assert_hears(cut_out(sides[0], rate, from_s, to_s), rate, CUSTOMER_HZ)
        assert_hears(cut_out(sides[1], rate, from_s, to_s), rate, agent_hz)
    parts = manifest["manifest"]["segments"]
    slow = [one for one in parts if (one["duration_s"] or 0) > 9]  # one that never began has none
    causes = [gap["cause"] for gap in recording["gaps"]]
    assert causes.count("wrong-speed") == len(slow), recording["gaps"]
    assert all(one["alignment_ms"] > 1000 for one in slow)
