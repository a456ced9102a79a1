"""Every code that the pages show has words, in every language."""

from typing import get_args

import pytest
from flask import Flask
from flask_babel import Babel

from api.pages.words import in_words, shell_words
from api.problems import STATUS
from recorder.rules.decide import Answer
from storage.errors import ConfigurationInvalid
from storage.records import DialCause, DialState, EndCause, GapCause

# The error_ids with which a worker gives up, and the reasons of the other ends of a recording.
GIVEN_UP = {
    error.error_id
    for error, status in STATUS.items()
    if status in {500, 502, 503} and error.__module__ in {"recorder.errors", "storage.errors"}
}
REASONS = GIVEN_UP - {ConfigurationInvalid.error_id} | {"nothing-captured", "on-request"}


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_code_has_words(language: str) -> None:
    """Each code of a cause, a reason, an answer, a problem or the end of a spy is translated."""
    app = Flask("api")
    Babel(app, locale_selector=lambda: language)
    with app.test_request_context():
        words = shell_words()
        assert words["problem"].keys() <= {error.error_id for error in STATUS}
        assert bool(words["problem"]) == (language != "en")
        assert words["ended"].keys() == {*get_args(EndCause)}
        assert words["dial"].keys() == {*get_args(DialState)} - {"ended"}
        assert words["dialled"].keys() == {*get_args(DialCause)}
        answers = {*get_args(Answer)} - {"not-matched"}
        shown = {code: in_words(code) for code in {*get_args(GapCause), *REASONS, *answers}}
        assert [code for code, text in shown.items() if "-" in code and text == code] == []
        if language == "ar":
            assert [text for text in shown.values() if text.isascii()] == []


def test_an_unknown_code_is_shown_as_it_is() -> None:
    """A sentence that an older version stored is not lost, and no code shows nothing."""
    app = Flask("api")
    Babel(app)
    with app.test_request_context():
        assert (in_words("discarded by sue"), in_words(None)) == ("discarded by sue", "")
