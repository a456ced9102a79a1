"""Errors as problem documents."""

from collections.abc import Iterator

import pytest
from flask import Flask

from api import errors as api_errors
from api.errors import RequestInvalid
from api.problems import STATUS, Problem, answer_problem, build_problem, register_problems, title_of
from recorder.errors import PbxUnavailable
from storage.errors import EarwitnessError, NoSuchCall


def every_error(base: type[EarwitnessError] = EarwitnessError) -> Iterator[type[EarwitnessError]]:
    """Iterate over an error and its subclasses."""
    assert api_errors.__doc__
    yield base
    for error in base.__subclasses__():
        yield from every_error(error)


def ours() -> list[type[EarwitnessError]]:
    """Return the errors of storage, recorder and API; those of test files do not count."""
    ours = ("storage.", "recorder.", "api.")
    return [error for error in every_error() if error.__module__.startswith(ours)]


@pytest.mark.parametrize("error", ours(), ids=lambda error: error.__name__)
def test_every_error_has_a_row(error: type[EarwitnessError]) -> None:
    """Every error has a status from 400 to 599 in the table, and a title."""
    assert 400 <= STATUS[error] < 600
    assert len(title_of(error)) > 10


def test_error_ids_differ() -> None:
    """Each error has its own error_id."""
    ids = [error.error_id for error in ours() if "error_id" in vars(error)]
    assert len(ids) == len(set(ids))


def test_a_refusal_has_the_message_of_the_error() -> None:
    """Below 500 the detail is the message of the error."""
    problem = build_problem(NoSuchCall("there is no call main-1.0"))
    assert (problem.status, problem.detail) == (404, "there is no call main-1.0")


def test_a_failure_says_nothing_of_our_inside() -> None:
    """From 500 on the message is not sent, and 503 has a time to retry."""
    response = answer_problem(build_problem(PbxUnavailable("http://10.1.2.3: refused")))
    document = response.get_json()
    assert document["detail"] == document["title"] == "Asterisk does not answer, or refuses us"
    assert document["type"] == "/problems/pbx-unavailable"
    assert response.headers["Retry-After"] == "5"
    assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize("error", ours(), ids=lambda error: error.__name__)
def test_a_dialplan_gets_one_line(error: type[EarwitnessError]) -> None:
    """Under `/dialplan/` each error is one line of plain text, with its status and its id."""
    problem = Problem(error.error_id, title_of(error), STATUS[error], "a\n b\u2028c\x0bd")
    with Flask("lines").test_request_context("/api/v1/dialplan/record"):
        response = answer_problem(problem)
    assert response.status_code == STATUS[error]
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.get_data(as_text=True) == f"error: {error.error_id}: a b c d\n"


def test_a_dialplan_is_told_the_wrong_field() -> None:
    """The line of an invalid request names the wrong parameter."""
    error = RequestInvalid.at("query", "channel", "Field required")
    with Flask("lines").test_request_context("/api/v1/dialplan/record"):
        response = answer_problem(build_problem(error))
    assert (
        response.get_data(as_text=True) == "error: request-invalid: query channel: Field required\n"
    )


def test_an_unexpected_error_is_500_with_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception sends nothing but an id, which is also in the log."""
    app = Flask("broken")
    register_problems(app)

    def fail() -> str:
        raise ZeroDivisionError("/etc/secret")

    app.add_url_rule("/", "fail", fail)
    document = app.test_client().get("/").get_json()
    assert (document["status"], document["error_id"]) == (500, "internal-error")
    assert "secret" not in str(document)
    assert document["instance"] in capsys.readouterr().out
