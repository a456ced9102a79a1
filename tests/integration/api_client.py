"""A client of the API that checks every answer against the API's OpenAPI document."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Flask
from openapi_schema_validator import OAS31Validator
from uuid_utils.compat import uuid7
from werkzeug.test import TestResponse

from api.app import ApiSettings, build_app
from api.openapi import build_document
from api.operation import find_operation, iter_operations
from api.services import EXTENSION
from recorder.ari.pbxs import Pbxs
from recorder.errors import CallEnded, PbxUnavailable, RecordingNotActive
from recorder.recording.capture import Capture
from recorder.spy.spies import Spies
from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue
from storage.objects.store import ObjectStore
from storage.records import Actor, CallRecord, Format, Layout, RecordingRecord, SpyRecord
from tests.fake_pbx import FakePbx

# Makes a token with the arguments of `tokens.create_token`.
TokenMaker = Callable[..., str]
NOW = datetime(2026, 11, 23, 18, 0, 0, 250_000, UTC)


class ApiClient:
    """A client with one token."""

    def __init__(self, app: Flask, token: str | None) -> None:
        self._app = app
        self._client = app.test_client()
        self._document = json.loads(json.dumps(build_document(iter_operations(app))))
        self.token = token

    @property
    def application(self) -> Flask:
        """Return the application."""
        return self._app

    def as_holder_of(self, token: str | None) -> "ApiClient":
        """Return the same client with another token, or without one."""
        return ApiClient(self._app, token)

    def get(self, path: str, **options: Any) -> TestResponse:
        """Send a GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        """Send a POST."""
        return self.request("POST", path, **options)

    def patch(self, path: str, **options: Any) -> TestResponse:
        """Send a PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        """Send a DELETE."""
        return self.request("DELETE", path, **options)

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> TestResponse:
        """Send a request, and check the answer against the document."""
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        response = self._client.open(path, method=method, headers=sent, **options)
        self._check(method, path, response)
        return response

    def _check(self, method: str, path: str, response: TestResponse) -> None:
        described = self._responses(method, path)
        if described is None:
            assert response.status_code in {401, 404, 405}, response.text
            return
        assert str(response.status_code) in described, (path, response.status_code, response.text)
        content = described[str(response.status_code)].get("content", {})
        if method == "HEAD" or response.status_code in {204, 302, 304}:
            return
        assert response.mimetype in content, (response.mimetype, list(content))
        if "json" in response.mimetype and "Content-Encoding" not in response.headers:
            schema = {**content[response.mimetype]["schema"], **self._components()}
            OAS31Validator(schema).validate(response.get_json())

    def _components(self) -> dict[str, Any]:
        return {"components": self._document["components"]}

    def _responses(self, method: str, path: str) -> dict[str, Any] | None:
        adapter = self._app.url_map.bind("localhost")
        verb = "GET" if method == "HEAD" else method
        if not adapter.test(path.partition("?")[0], verb):
            return None
        endpoint, _ = adapter.match(path.partition("?")[0], verb)
        operation = find_operation(self._app, endpoint)
        assert operation is not None
        found = [
            described
            for described in self._document["paths"].values()
            if described.get(verb.lower(), {}).get("operationId") == operation.name
        ]
        responses: dict[str, Any] = found[0][verb.lower()]["responses"]
        return responses


def rebuild_app(app: Flask, settings: ApiSettings | None = None, **parts: Any) -> Flask:
    """Build an application on the same servers, with other settings or further parts."""
    before = app.extensions[EXTENSION]
    return build_app(
        before.catalogue,
        before.objects,
        before.capture,
        before.spies,
        settings or before.settings,
        **parts,
    )


def problem(response: TestResponse) -> tuple[int, str]:
    """Return the status and the error of an answer."""
    return response.status_code, response.get_json()["error_id"]


class CatalogueCapture(Capture):
    """A capture without a PBX: it moves the states in the catalogue at once."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue, {})
        self.catalogue = catalogue
        self.pbx_is_away = False
        self.started = 0

    def start(
        self,
        call_id: str,
        *,
        by: Actor,
        trigger: str = "manual",
        layout: Layout | None = None,
        format: Format | None = None,
        tags: Sequence[str] = (),
    ) -> RecordingRecord:
        """Write a recording down that runs."""
        if self.pbx_is_away:
            raise PbxUnavailable("http://10.1.2.3:8088 does not answer")
        with self.catalogue.begin() as tx:
            call = calls.get_call(tx, call_id)
            if call.state == "ended":
                raise CallEnded(f"call {call_id} is over")
            record = build_recording(
                call_id=call_id, agent=call.agent, layout=layout or "dual", format=format or "opus"
            )
            self.started += 1
            record = replace(record, tags=tuple(tags))
            recordings.create_recording(tx, record)
            return record

    def pause(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """Open a pause."""
        with self.catalogue.begin() as tx:
            return _active(recordings.open_pause(tx, recording_id, at=NOW, by=by.name))

    def resume(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """Close the pause."""
        with self.catalogue.begin() as tx:
            return _active(recordings.close_pause(tx, recording_id, at=NOW))

    def stop(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """Move the recording to `captured`."""
        with self.catalogue.begin() as tx:
            return _active(recordings.move(tx, recording_id, to="captured", ended_at=NOW))

    def discard(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """Move the recording to `discarded`."""
        with self.catalogue.begin() as tx:
            return _active(recordings.move(tx, recording_id, to="discarded", ended_at=NOW))


class CatalogueSpies(Spies):
    """Spies on the PBX `main` in memory, where every phone rings and none answers."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.pbx = FakePbx()
        super().__init__(
            catalogue,
            Pbxs({"main": self.pbx}),  # type: ignore[dict-item]
            {"main": ("PJSIP/trunk*",)},
        )
        self.catalogue = catalogue

    def take_down(self, spy_ids: Iterable[UUID]) -> None:
        """Do nothing: the ended spies of these tests were on no PBX."""


def build_spy(**fields: Any) -> SpyRecord:
    """Build a requested spy with these fields; its owner is a token that made it."""
    usual = SpyRecord(
        id=uuid7(),
        call_id="main-1795424777.0",
        pbx="main",
        mode="listen",
        destination="PJSIP/9001",
        state="requested",
        supervisor="root",
        follow="call",
        started_at=NOW,
        may=("listen", "whisper", "barge"),
        maker_id=fields.get("owner_id"),
    )
    return replace(usual, **fields)


def store_audio(
    catalogue: Catalogue,
    objects: ObjectStore,
    key: str,
    audio: bytes,
    *,
    content_type: str = "audio/wav",
    **fields: Any,
) -> RecordingRecord:
    """Put the audio of a recording into the store, and its row into the catalogue."""
    objects.put_bytes(key, audio, content_type=content_type, metadata={})
    made = build_recording(
        state="stored",
        object_key=key,
        content_type=content_type,
        size_bytes=len(audio),
        sha256="0" * 64,
        **fields,
    )
    with catalogue.begin() as tx:
        recordings.create_recording(tx, made)
    return made


def build_recording(**fields: Any) -> RecordingRecord:
    """Build a running recording with these fields."""
    usual = RecordingRecord(
        id=uuid7(),
        call_id="main-1795424777.0",
        pbx="main",
        state="recording",
        trigger="manual",
        layout="dual",
        format="opus",
        pause_leaves="silence",
        direction="inbound",
        started_at=NOW,
    )
    return replace(usual, **fields)


def build_call(**fields: Any) -> CallRecord:
    """Build a call that is up, with these fields."""
    usual = CallRecord(
        id="main-1795424777.0", pbx="main", state="up", direction="inbound", started_at=NOW
    )
    return replace(usual, **fields)


def _active(record: RecordingRecord | None) -> RecordingRecord:
    if record is None:
        raise RecordingNotActive("the recording has ended")
    return record
