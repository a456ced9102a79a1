"""The patterns of endpoints by which agents are added to the list."""

import pytest

from recorder.watch.seen_agents import AgentPattern, find_pattern


@pytest.mark.parametrize(
    ("endpoints", "endpoint", "matches"),
    [
        ("PJSIP/20*", "PJSIP/2001", True),
        ("PJSIP/20*", "SIP/2001", False),
        ("PJSIP/20*", "PJSIP/3001", False),
        ("20*", "PJSIP/2001", True),
        ("20*", "SIP/2001", True),
        ("20*", "PJSIP/3020", False),
        ("*/20?", "IAX2/205", True),
        ("PJSIP/20*", "2001", True),  # of a known agent only the name is kept
        ("PJSIP/20*", "3001", False),
    ],
)
def test_a_pattern(endpoints: str, endpoint: str, matches: bool) -> None:
    """A pattern compares the technology where both have one, and the whole name."""
    assert AgentPattern(endpoints).matches(endpoint) is matches


def test_the_first_pattern_counts() -> None:
    """The first of several patterns that match counts."""
    patterns = [AgentPattern("200*", "leads"), AgentPattern("20*", "sales")]
    assert find_pattern(patterns, "PJSIP/2001") == patterns[0]
    assert find_pattern(patterns, "PJSIP/2011") == patterns[1]
    assert find_pattern(patterns, "PJSIP/3001") is None
