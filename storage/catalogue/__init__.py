"""The catalogue: everything that Earwitness keeps in PostgreSQL.

Every function takes the connection of a running transaction first, so a caller decides which
changes belong together:

    with catalogue.begin() as tx:
        recordings.move(tx, recording_id, to="captured", ended_at=now)
        jobs.defer(tx, "finish", recording_id)
"""
