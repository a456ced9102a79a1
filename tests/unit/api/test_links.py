"""The address of the media server for pages."""

from uuid import UUID

import pytest

from api.app import ApiSettings, build_app
from api.links import audio_url
from storage.catalogue.engine import Catalogue

SPY = UUID("01a209c6-75ff-71d9-992e-ee478d697433")


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        (ApiSettings(), "ws://asked.example:8081"),
        (ApiSettings(media_url="wss://ear.example/media/"), "wss://ear.example/media"),
        (ApiSettings(public_url="https://ear.example", media_port=9), "ws://ear.example:9"),
        (ApiSettings(public_url="http://[::1]:8080"), "ws://[::1]:8081"),
    ],
)
def test_audio_is_where_the_configuration_says(settings: ApiSettings, begins: str) -> None:
    """It is `media.public_url`, else the API's own host with `media.port`."""
    catalogue = Catalogue("postgresql://nobody@127.0.0.1:1/nothing")
    app = build_app(catalogue, None, None, None, settings)  # type: ignore[arg-type]
    with app.test_request_context(base_url="http://asked.example:8080"):
        assert audio_url(SPY, "t0k-en") == f"{begins}/spies/{SPY}?token=t0k-en"
