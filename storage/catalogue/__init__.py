"""The catalogue: what PostgreSQL knows of calls, recordings and who may ask.

Every function takes the connection of a running transaction first, so a caller decides what
belongs together:

    with catalogue.begin() as tx:
        recordings.move(tx, recording_id, to="captured", ended_at=now)
        jobs.defer(tx, "finish", recording_id)
"""
