"""The command `rules test`: it tries the draft rules of a file on past calls."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from earwitness.config import Config, explain, read_rules
from earwitness.wiring import Wiring, check_rules
from recorder.rules.trial import try_rules
from storage.errors import ConfigurationInvalid


def try_file(config: Config, path: Path, days: int) -> Iterator[str]:
    """Yield the result, line by line. Raises ConfigurationInvalid, CatalogueUnavailable."""
    try:
        drafts = read_rules(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigurationInvalid(f"{path}: {explain(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigurationInvalid(f"{path}: {error}") from error
    check_rules(drafts)
    now = datetime.now(UTC)
    catalogue = Wiring(config).catalogue
    began = now - timedelta(days=days)
    trial = try_rules(catalogue, drafts, config.default_action, from_at=began, to_at=now)
    yield f"{trial.calls} calls since {trial.from_at:%Y-%m-%d}"
    yield f"{trial.recorded} would have been recorded; {trial.recorded_before} were"
    yield f"a month: {trial.audio_s_per_month / 3600:.1f} h, {trial.bytes_per_month / 1e9:.2f} GB"
    yield f"{trial.changed} calls change"
    for change in trial.changes:
        before, after = (one or "not recorded" for one in (change.before, change.after))
        yield f"{change.call_id}: {before} -> {after}"
