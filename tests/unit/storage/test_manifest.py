"""Manifests: a signed body is read back whole, and any change is noticed."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ManifestInvalid
from storage.manifest import (
    SigningKey,
    build_manifest,
    canonical_json,
    sign_manifest,
    verify_manifest,
)

KEY = SigningKey.generate()
OTHER = SigningKey.generate()
TRUSTED = {KEY.key_id: KEY.public}

texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | texts
    | st.floats(allow_nan=False).filter(lambda number: abs(number) != float("inf")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(texts, values, min_size=1, max_size=5)


def example() -> dict[str, Any]:
    """Build the body of a manifest like the pipeline does."""
    return build_manifest(
        {
            "id": UUID("01932f3e-8b1a-7c4d-9e00-5a5a5a5a5a5a"),
            "caller": {"number": "12025550123", "name": "Zoë Ångström"},
            "started_at": datetime(2026, 3, 1, 12, 30, 5, 250_000, tzinfo=UTC),
            "duration_s": 12.5,
        },
        [{"side": "left", "duration_s": 12.5}],
        {"peaks": [[0, 3, 9], [1, 1, 0]]},
    )


@given(bodies)
def test_a_signed_manifest_verifies_to_its_body(body: dict[str, Any]) -> None:
    """Every JSON value comes back as it went in."""
    assert verify_manifest(sign_manifest(body, KEY), TRUSTED) == body


@given(bodies, st.data())
def test_any_changed_byte_is_detected(body: dict[str, Any], data: st.DataObject) -> None:
    """Replacing, removing or inserting one byte anywhere makes the manifest invalid."""
    document = bytearray(sign_manifest(body, KEY))
    at = data.draw(st.integers(0, len(document) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != document[at]))
    change = data.draw(st.sampled_from(["replace", "remove", "insert"]))
    if change == "insert":
        document.insert(at, byte)
    elif change == "replace":
        document[at] = byte
    else:
        del document[at]
    with pytest.raises(ManifestInvalid):
        verify_manifest(bytes(document), TRUSTED)


@given(bodies, bodies)
def test_a_signature_does_not_carry_over_to_another_body(
    body: dict[str, Any], other: dict[str, Any]
) -> None:
    """A signature is invalid on a different manifest."""
    document = json.loads(sign_manifest(body, KEY))
    document["manifest"] = other
    if canonical_json(other) == canonical_json(body):
        assert verify_manifest(canonical_json(document), TRUSTED) == other
        return
    with pytest.raises(ManifestInvalid, match="changed"):
        verify_manifest(canonical_json(document), TRUSTED)


def test_a_manifest_says_times_and_ids_as_text() -> None:
    """Times are RFC 3339 in UTC, ids their text, names stay readable."""
    recording = example()["recording"]
    assert recording["started_at"] == "2026-03-01T12:30:05.250000Z"
    assert recording["id"] == "01932f3e-8b1a-7c4d-9e00-5a5a5a5a5a5a"
    assert "Zoë Ångström".encode() in sign_manifest(example(), KEY)


def test_the_canonical_form_does_not_depend_on_the_order_of_keys() -> None:
    """Two equal bodies have the same bytes, so the same signature."""
    assert canonical_json({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    reordered = dict(reversed(example().items()))
    assert sign_manifest(reordered, KEY) == sign_manifest(example(), KEY)


def test_an_unknown_key_is_refused() -> None:
    """A manifest with the signature of an unknown key is refused."""
    with pytest.raises(ManifestInvalid, match="not known"):
        verify_manifest(sign_manifest(example(), OTHER), TRUSTED)


def test_another_key_under_a_trusted_name_is_refused() -> None:
    """The name of a key in the document proves nothing."""
    document = json.loads(sign_manifest(example(), OTHER))
    document["signature"]["key_id"] = KEY.key_id
    with pytest.raises(ManifestInvalid, match="changed"):
        verify_manifest(canonical_json(document), TRUSTED)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("signature"),
        lambda document: document.pop("manifest"),
        lambda document: document.update(note="not signed"),
        lambda document: document["signature"].update(note="not signed"),
        lambda document: document["signature"].update(algorithm="none"),
        lambda document: document["signature"].update(value=None),
        lambda document: document["signature"].update(value="é"),
    ],
)
def test_a_document_of_another_form_is_refused(change: Any) -> None:
    """Missing parts, or parts outside the signature, make a manifest invalid."""
    document = json.loads(sign_manifest(example(), KEY))
    change(document)
    with pytest.raises(ManifestInvalid):
        verify_manifest(canonical_json(document), TRUSTED)


@pytest.mark.parametrize("document", [b"", b"[]", b"\xff", b"nonsense", b"[" * 100_000])
def test_foreign_bytes_are_refused(document: bytes) -> None:
    """Foreign bytes raise ManifestInvalid."""
    with pytest.raises(ManifestInvalid):
        verify_manifest(document, TRUSTED)


def test_a_key_survives_its_pem_form() -> None:
    """A key that was written and read again makes the same signatures under the same id."""
    again = SigningKey.from_pem(KEY.to_pem())
    assert again.key_id == KEY.key_id
    assert sign_manifest(example(), again) == sign_manifest(example(), KEY)


def test_a_key_does_not_show_itself() -> None:
    """The private key is not in the text of the object."""
    assert repr(KEY) == "SigningKey()"


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, datetime(2026, 3, 1)])  # noqa: DTZ001
def test_a_value_without_canonical_form_is_not_signed(value: object) -> None:
    """A value without a canonical form is never signed."""
    with pytest.raises(ValueError, match=r"cannot hold|not JSON compliant"):
        sign_manifest({"value": value}, KEY)
