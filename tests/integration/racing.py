"""Hold the window of a race open by a lock, until the other side waits for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, text

from lab.waiting import until
from storage.catalogue.engine import Catalogue

T = TypeVar("T")

PATIENCE_S = 30.0


def ask_during(
    catalogue: Catalogue, change: Callable[[Connection], object], ask: Callable[[], T]
) -> T:
    """Ask while a transaction with this change is open, and return the answer.

    The transaction ends once the answer is there, or waits for the transaction.
    """
    with ThreadPoolExecutor(1) as beside:
        with catalogue.begin() as tx:
            change(tx)
            asked = beside.submit(ask)
            until(lambda: asked.done() or waits_for_a_lock(tx), PATIENCE_S)
        return asked.result(30)


def waits_for_a_lock(tx: Connection) -> bool:
    """Whether another transaction waits for this one.

    Not from pg_stat_activity, which shows a transaction always its first answer.
    """
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    waiting += " AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return bool(tx.scalar(text(waiting)))
