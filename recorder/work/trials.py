"""Run trials of draft rules in the background, with their progress in the catalogue."""

import time
from dataclasses import dataclass
from uuid import UUID

import structlog

from recorder.errors import RightWithdrawn
from recorder.rules.trial import Trial, may_try
from recorder.work import retry
from storage.catalogue import trials
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import find_rights
from storage.errors import CatalogueUnavailable, NoSuchTrial
from storage.records import TrialRecord

log = structlog.get_logger()

NOTE_EVERY_S = 1.0
# A trial that takes longer ends with the calls that it has examined.
LONGEST_S = 900.0


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials that wait for a worker."""

    catalogue: Catalogue
    note_every_s: float = NOTE_EVERY_S
    longest_s: float = LONGEST_S

    def work(self, trial_id: UUID) -> None:
        """Run a trial from its beginning; end early if a newer one of its owner has replaced it.

        Raises CatalogueUnavailable.
        """
        try:
            with self.catalogue.begin() as tx:
                wanted = trials.get_trial(tx, trial_id)
            trial = Trial(self.catalogue, wanted)
            self._run(wanted, trial)
        except NoSuchTrial:
            log.info("trial.replaced", trial=str(trial_id))
            return
        log.info("trial.finished", trial=str(trial_id), calls=trial.done)

    def _run(self, wanted: TrialRecord, trial: Trial) -> None:
        """Examine the calls, and save the progress every second. Raises NoSuchTrial."""
        trial_id, total = wanted.id, trial.count()
        with self.catalogue.begin() as tx:
            trials.begin_trial(tx, trial_id, total)
        noted = 0
        begun = noted_at = time.monotonic()
        for _ in trial.steps():
            now = time.monotonic()
            if now - noted_at >= self.note_every_s:
                noted, noted_at = self._note(wanted, trial, noted), now
            if now - begun > self.longest_s:
                break
        self._note(wanted, trial, noted)
        result = trial.result()
        with self.catalogue.begin() as tx:
            trials.end_trial(tx, trial_id, result)

    def fail(self, trial_id: UUID, reason: str) -> None:
        """Mark a trial as failed, with the reason."""
        with self.catalogue.begin() as tx:
            trials.end_trial(tx, trial_id, None, reason)
        log.error("trial.failed", trial=str(trial_id), reason=reason)

    def _note(self, wanted: TrialRecord, trial: Trial, noted: int) -> int:
        """Save the progress and the changes after the first `noted`; return how many there are.

        Raises NoSuchTrial, also after ending the trial of an owner without the right to it.
        """
        more = trial.changes[noted:]
        with self.catalogue.begin() as tx:
            is_permitted = may_try(find_rights(tx, wanted.owner_id), wanted.agents)
            if is_permitted:
                trials.note_progress(tx, wanted.id, done=trial.done, place=noted, changes=more)
            else:
                trials.end_trial(tx, wanted.id, None, RightWithdrawn.error_id)
        if not is_permitted:
            raise NoSuchTrial(f"{wanted.created_by} may not try rules any more")
        return len(trial.changes)


def next_wait_s(error: BaseException, attempts: int) -> float | None:
    """Retry only while the catalogue is away: the trials behind this one wait for it."""
    if not isinstance(error, CatalogueUnavailable):
        return None
    return retry.next_wait_s(error, attempts)
