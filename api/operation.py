"""Declare the operations of the API: permission, parameters, body and replies of each.

    operations = Operations("/api/v1", tag="recordings")

    @operations.get("/recordings", RECORDINGS_READ, json(RecordingList), query=RecordingQuery)
    def list_recordings(query: RecordingQuery) -> Response: …

The declaration stands beside the function. It checks the request, and it is the source of the
OpenAPI document, so the two cannot differ. The function parses nothing: it gets the variables of
the path, and the validated `query` and `body` if it declares them.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar, Unpack

from flask import Flask, Response, current_app, request
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from api.auth import authenticate, authorise
from api.dialplans import DIALPLAN_PATHS, TOKEN, authenticate_dialplan
from api.errors import RequestInvalid
from api.idempotency import act_once
from storage.errors import EarwitnessError

Handler = Callable[..., Response]
Declare = Callable[[Handler], Handler]
Model = TypeVar("Model", bound=BaseModel)
Errors = tuple[type[EarwitnessError], ...]

JSON = "application/json"
CSV = "text/csv"
FORM = "application/x-www-form-urlencoded"
# Two values of `needs` beside the permissions: anyone, and anyone with a token.
OPEN = "nothing"
SIGNED_IN = "a token"


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply with one status: a JSON model, or media types other than JSON."""

    description: str
    model: type[BaseModel] | None = None
    media_types: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class OperationOptions(TypedDict, total=False):
    """The optional properties of an operation.

    `is_for_dialplans`: a dialplan may call it, and each answer is one line. `shown_once`: the field
    of the answer that holds a secret; a request repeated with the same Idempotency-Key gets null in
    it. `csv_bytes`: the body is `text/csv` of at most so many bytes, and the function gets it as
    `csv`.
    """

    query: type[BaseModel]
    body: type[BaseModel]
    errors: Errors
    is_for_dialplans: bool
    shown_once: str
    csv_bytes: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    rule: str
    needs: str
    answers: Mapping[int, Reply]
    handler: Handler
    tag: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    errors: Errors = ()
    is_for_dialplans: bool = False
    shown_once: str = ""
    csv_bytes: int = 0

    @property
    def name(self) -> str:
        """The unique name of the operation."""
        return self.handler.__name__

    @property
    def acts_once(self) -> bool:
        """Whether it takes an Idempotency-Key; every other operation is safe to repeat."""
        return self.method == "POST" and (self.body is not None or self.csv_bytes > 0)

    def register(self, app: Flask) -> None:
        """Serve the operation; its view carries it for the OpenAPI document."""
        view = self._view()
        view.operation = self  # type: ignore[attr-defined]  # a function takes any attribute
        app.add_url_rule(
            self.rule,
            self.name,
            view,
            methods=[self.method],
            provide_automatic_options=False,  # OPTIONS would answer without a token
        )

    def _view(self) -> Handler:
        def view(**arguments: Any) -> Response:
            if self.needs not in (OPEN, SIGNED_IN):
                authorise(self.needs)
            if self.query is not None:
                beside = {TOKEN} if self.is_for_dialplans else frozenset()
                arguments["query"] = parse_query(self.query, beside=beside)
            if self.csv_bytes:
                arguments["csv"] = read_csv()
            elif self.body is not None:
                body = parse_body(self.body)
                if self.body.model_fields:
                    arguments["body"] = body
            if not self.acts_once:
                return self.handler(**arguments)
            return act_once(lambda: self.handler(**arguments), shown_once=self.shown_once)

        return view


class Operations:
    """The operations of one module."""

    def __init__(self, prefix: str, *, tag: str) -> None:
        self._prefix = prefix
        self._tag = tag
        self._operations: list[Operation] = []

    def get(
        self, rule: str, needs: str, answers: Mapping[int, Reply], **more: Unpack[OperationOptions]
    ) -> Declare:
        """Declare an operation that reads, by GET and HEAD."""
        return self._declare("GET", rule, needs, answers, **more)

    def post(
        self, rule: str, needs: str, answers: Mapping[int, Reply], **more: Unpack[OperationOptions]
    ) -> Declare:
        """Declare an operation that acts, by POST; with an Idempotency-Key it acts once."""
        return self._declare("POST", rule, needs, answers, **more)

    def put(
        self, rule: str, needs: str, answers: Mapping[int, Reply], **more: Unpack[OperationOptions]
    ) -> Declare:
        """Declare an operation that replaces a whole resource, by PUT."""
        return self._declare("PUT", rule, needs, answers, **more)

    def patch(
        self, rule: str, needs: str, answers: Mapping[int, Reply], **more: Unpack[OperationOptions]
    ) -> Declare:
        """Declare an operation that changes some fields of a resource, by PATCH."""
        return self._declare("PATCH", rule, needs, answers, **more)

    def delete(
        self, rule: str, needs: str, answers: Mapping[int, Reply], **more: Unpack[OperationOptions]
    ) -> Declare:
        """Declare an operation that removes a resource, by DELETE; some take a reason as body."""
        return self._declare("DELETE", rule, needs, answers, **more)

    def register(self, app: Flask) -> None:
        """Serve every operation of this module."""
        for operation in self._operations:
            operation.register(app)

    def _declare(
        self,
        method: str,
        rule: str,
        needs: str,
        answers: Mapping[int, Reply],
        **more: Unpack[OperationOptions],
    ) -> Declare:
        def declared(handler: Handler) -> Handler:
            self._operations.append(
                Operation(method, self._prefix + rule, needs, answers, handler, self._tag, **more)
            )
            return handler

        return declared


def json(model: type[BaseModel], description: str = "") -> Mapping[int, Reply]:
    """Return the replies of an operation with one JSON object; the default text is the model's."""
    return {200: Reply(description or (model.__doc__ or "").split("\n")[0], model)}


def answer(fields: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Build a JSON response from plain values, datetimes and UUIDs."""
    return Response(to_json(fields), status, headers=headers, content_type=JSON)


def require_token() -> None:
    """Authenticate every request, also one for an unknown path, except to an open operation."""
    operation = find_operation(current_app, request.endpoint)
    if request.path.startswith(DIALPLAN_PATHS):
        authenticate_dialplan()
    elif operation is None or operation.needs != OPEN:
        authenticate()


def find_operation(app: Flask, endpoint: str | None) -> Operation | None:
    """Return the operation behind an endpoint of Flask, if it is one."""
    return getattr(app.view_functions.get(endpoint or ""), "operation", None)


def iter_operations(app: Flask) -> Iterator[Operation]:
    """Iterate over every operation of the application."""
    found = (find_operation(app, rule.endpoint) for rule in app.url_map.iter_rules())
    return (operation for operation in found if operation is not None)


def parse_query(model: type[Model], *, beside: AbstractSet[str] = frozenset()) -> Model:
    """Parse the parameters of the URL, or of the form of a POST, without those `beside` the query.

    Raises RequestInvalid for a parameter that is unknown, wrong or given twice.
    """
    repeated = [name for name, values in request.values.lists() if len(values) > 1]
    if repeated:
        raise RequestInvalid(*((("query", name), "given more than once") for name in repeated))
    given = {name: value for name, value in request.values.items() if name not in beside}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _invalid("query", error) from None


def parse_body(model: type[Model]) -> Model:
    """Parse the JSON object of the request; no body counts as `{}`."""
    sent = request.get_data()
    if sent and not request.is_json:
        raise UnsupportedMediaType("send the body as application/json")
    try:
        return model.model_validate_json(sent or b"{}", strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise BadRequest("the body is not JSON") from None
        raise _invalid("body", error) from None


def read_csv() -> bytes:
    """Return the body of the request, which must be `text/csv`."""
    if request.mimetype != CSV:
        raise UnsupportedMediaType("send the body as text/csv")
    return request.get_data()


def _invalid(part: str, error: ValidationError) -> RequestInvalid:
    """Return the error with the expected values; it never repeats the values that were sent."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        is_unknown = fault["type"] == "extra_forbidden"
        msg = "unknown" if is_unknown else fault["msg"].removeprefix("Value error, ")
        faults.append(((part, *fault["loc"]), msg))
    return RequestInvalid(*faults)
