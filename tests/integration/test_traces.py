"""The search of the whole database for a text."""

from uuid import uuid4

from api_client import build_recording
from uuid_utils.compat import uuid7

from storage.catalogue import recordings, traces
from storage.catalogue.engine import Catalogue


def test_a_text_is_found_in_the_row_that_has_it(catalogue: Catalogue) -> None:
    """A text in any column is found, in the rows written since the mark alone."""
    text = uuid4().hex
    with catalogue.begin() as tx:
        mark = traces.set_mark(tx)
    with catalogue.begin() as tx:
        assert traces.find_traces(tx, text, mark)[1] == ()
        recordings.create_recording(
            tx, build_recording(id=uuid7(), call_id="main-1", note=f"card {text}")
        )
    with catalogue.begin() as tx:
        later = traces.set_mark(tx)
        count, found = traces.find_traces(tx, text, mark)
        assert "public.recording" in found
        assert count > 20
    with catalogue.begin() as tx:
        assert traces.find_traces(tx, text, later)[1] == ()
