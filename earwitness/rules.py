"""The command `rules test`: it tries the draft rules of a file on past calls."""

import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from earwitness.config import Config, explain, read_rules
from earwitness.wiring import Wiring, check_rules
from recorder.rules.trial import Trial
from storage.errors import ConfigurationInvalid
from storage.records import TrialRecord

PROGRESS_EVERY_S = 1.0
# The command keeps nothing: its trial has no id and no owner.
NOBODY = UUID(int=0)


def try_file(
    config: Config, path: Path, days: int, show_progress: Callable[[str], None]
) -> Iterator[str]:
    """Yield the result, line by line; show the progress of a long trial every second.

    Raises ConfigurationInvalid, CatalogueUnavailable.
    """
    try:
        drafts = read_rules(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigurationInvalid(f"{path}: {explain(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigurationInvalid(f"{path}: {error}") from error
    check_rules(drafts)
    now = datetime.now(UTC)
    wanted = TrialRecord(
        id=NOBODY,
        drafts=tuple(drafts),
        default_action=config.default_action,
        from_at=now - timedelta(days=days),
        to_at=now,
        state="running",
        created_by="",
        created_at=now,
        owner_id=NOBODY,
    )
    trial = Trial(Wiring(config).catalogue, wanted)
    _run(trial, show_progress)
    result = trial.result()
    yield f"{result.calls} calls since {result.from_at:%Y-%m-%d}"
    yield f"{result.recorded} would have been recorded; {result.recorded_before} were"
    yield f"a month: {result.audio_s_per_month / 3600:.1f} h, {result.bytes_per_month / 1e9:.2f} GB"
    yield f"{result.changed} calls change"
    for change in trial.changes:
        before, after = (one or "not recorded" for one in (change.before, change.after))
        yield f"{change.call_id}: {before} -> {after}"


def _run(trial: Trial, show_progress: Callable[[str], None]) -> None:
    total = trial.count()
    shown_at = time.monotonic()
    for done in trial.steps():
        if time.monotonic() - shown_at >= PROGRESS_EVERY_S:
            shown_at = time.monotonic()
            show_progress(f"{done} of {total} calls examined")
