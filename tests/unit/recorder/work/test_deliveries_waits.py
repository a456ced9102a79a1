"""The turns of webhooks: who gets one, and when."""

from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from recorder.work.deliveries import MOST_FAILING, MOST_OF_RECEIVER, choose_turns, wait_after
from storage.records import WebhookRecord

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def webhook(host: str, *, fails: bool = False) -> WebhookRecord:
    """Return a webhook to this host."""
    since = NOW if fails else None
    url = f"https://{host}/{uuid4()}"
    return WebhookRecord(uuid4(), url, (), NOW, "root", "1-1", failing_since=since)


def test_no_webhook_is_given_up() -> None:
    """After a defect a webhook is retried for ever, within five minutes."""
    assert 0 < wait_after(LookupError(), 0) <= 1
    assert 150 <= wait_after(LookupError(), 10_000) <= 300


def test_a_receiver_gets_two_turns() -> None:
    """Many webhooks to one receiver leave the other places to the others, in their order."""
    crowd, other = [webhook("slow.example") for _ in range(100)], webhook("good.example")
    assert choose_turns([*crowd, other], []) == [crowd[0], crowd[1], other]
    assert choose_turns([*crowd[1:], other], crowd[:1]) == [crowd[1], other]
    assert choose_turns([*crowd[2:], other], crowd[:2]) == [other]


def test_a_receiver_is_known_by_its_host_and_port() -> None:
    """Another way of writing the same server is no other receiver; another port is."""
    running = [webhook("slow.example"), webhook("SLOW.example.:443")]
    other = webhook("slow.example:8443")
    assert choose_turns([webhook("slow.example"), other], running) == [other]


def test_failing_receivers_leave_places_to_the_others() -> None:
    """However many receivers fail, one that works gets its turn at once."""
    failing = [webhook(f"h{n}.example", fails=True) for n in range(100)]
    good = webhook("good.example")
    chosen = choose_turns([*failing, good], [])
    assert chosen == [*failing[:16], good]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=4),
)
def test_the_bounds_hold_for_any_webhooks(
    due: list[tuple[str, bool]], running: list[tuple[str, bool]]
) -> None:
    """New turns never take a receiver above its bound, and somebody gets one if nobody runs."""
    waiting = [webhook(f"{host}.example", fails=fails) for host, fails in due]
    busy = [webhook(f"{host}.example", fails=fails) for host, fails in running]
    chosen = choose_turns(waiting, busy)
    hosts = Counter(one.url.split("/")[2] for one in [*chosen, *busy])
    assert all(hosts[one.url.split("/")[2]] <= MOST_OF_RECEIVER for one in chosen)
    failing = sum(one.failing_since is not None for one in [*chosen, *busy])
    assert failing <= max(MOST_FAILING, sum(fails for _, fails in running))
    assert chosen or not waiting or busy


def test_an_address_that_nobody_accepts_any_more_gets_a_turn() -> None:
    """The delivery to such an address fails at once and says why."""
    old = WebhookRecord(uuid4(), "http://0x7f.1/", (), NOW, "root", "1-1")
    assert choose_turns([old], []) == [old]
