"""Hold the window of a race open by a lock, until the other side waits for it."""

from sqlalchemy import Connection, text


def waits_for_a_lock(tx: Connection) -> bool:
    """Whether another transaction waits for this one.

    Not from pg_stat_activity, which shows a transaction always its first answer.
    """
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    waiting += " AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return bool(tx.scalar(text(waiting)))
