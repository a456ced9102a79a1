"""Replace the English sentences that say why a recording failed by codes.

Earlier versions stored sentences, which the pages looked up word for word in order to translate
them. A sentence that is not listed here stays, and the pages show it as it is: `discarded by sue`
is the only place that names the person who discarded a recording before the audit trail did.
"""

from alembic import op
from sqlalchemy import text

revision = "0011"
down_revision = "0010"

CODES = {
    "the PBX holds no audio of this recording": "no-audio-on-pbx",
    "the recording was never begun": "never-began",
    "it ended before anything was captured": "nothing-captured",
    "it could not be finished (%": "internal-error",
    "it could not be done (%": "internal-error",
}
UPDATES = (
    # `recording_unusual_idx` finds these states: few rows are read, however many are stored.
    "UPDATE recording SET reason = :code"
    " WHERE state IN ('aborted', 'failed') AND reason LIKE :sentence",
    "UPDATE bulk SET reason = :code WHERE state = 'failed' AND reason LIKE :sentence",
    "UPDATE decision"
    " SET assurance = jsonb_set(assurance, '{cause}', to_jsonb(CAST(:code AS text)))"
    " WHERE assurance ->> 'cause' LIKE :sentence",
)


def upgrade() -> None:
    """Rewrite the rows of recordings, of bulks and of the assurance of calls."""
    for sentence, code in CODES.items():
        for update in UPDATES:
            op.execute(text(update).bindparams(code=code, sentence=sentence))
