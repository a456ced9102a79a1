"""The words for short names: each name is one that there is."""

from typing import get_args

import pytest
from flask import Flask
from flask_babel import Babel

from api.pages.words import in_words, shell_words
from api.problems import STATUS
from recorder.rules.decide import Answer
from recorder.spy.plan import end_cause
from recorder.work import bulk, retry


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_name_is_known(language: str) -> None:
    """Problems have an error of ours, spies an end, and rules no other answer."""
    app = Flask("api")
    Babel(app, locale_selector=lambda: language)
    with app.test_request_context():
        words = shell_words()
        assert words["problem"].keys() <= {error.error_id for error in STATUS}
        assert bool(words["problem"]) == (language != "en")
        assert {end_cause("ringing", q850) for q850 in range(128)} <= words["ended"].keys()
        answers = {*get_args(Answer)} - {"not-matched"}
        assert answers.isdisjoint({in_words(answer) for answer in answers})
        error = OSError("no space")
        assert {in_words(reason(error)) for reason in (retry.reason_for, bulk.reason_for)} == {
            in_words("it could not be done (OSError)")
        }
        assert "OSError" in in_words(retry.reason_for(error))
        assert (in_words("a word of a server"), in_words(None)) == ("a word of a server", "")
