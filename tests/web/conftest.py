"""A real Chromium with a fake microphone, beside real telephones and the whole service."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lab.far import SUPERVISOR_HZ
from lab.provider import CLIENT_ID, CLIENT_SECRET, Provider
from lab.root import ensure_program
from lab.world import World
from tests.pbx.conftest import (  # noqa: F401  # as fixtures
    SharedService,
    shared_service,
    telephones,
    world,
)
from tests.service import Service
from tests.web.browsing import CHROMIUM, OPTIONS

RATE = 48_000
# Be patient on a slow machine.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    """Start an identity provider that knows one supervisor."""
    with Provider() as provider:
        provider.people["sam"] = {"preferred_username": "Sam", "groups": ["ew-leads"]}
        yield provider


@pytest.fixture(scope="package")
def service(
    telephones: World,  # noqa: F811
    shared_service: SharedService,  # noqa: F811
    provider: Provider,
) -> Iterator[Service]:
    """Start one service for all tests of this directory; it has no rule that records."""
    shared_service.stop()
    oidc = {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "name": "Acme",
        "role_claim": "groups",
        "team_claim": "",
        "roles.supervisor": ["ew-leads"],
    }
    with TemporaryDirectory(prefix="earwitness-test-") as folder:
        service = Service(Path(folder), telephones.pbx, oidc=oidc)
        service.start()
        yield service
        assert service.stop() == 0


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the supervisor's tone as the file that the browser uses as its microphone."""
    path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    tone = 0.25 * np.sin(2 * np.pi * SUPERVISOR_HZ * np.arange(10 * RATE) / RATE)
    soundfile.write(path, tone, RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="package")
def browser(microphone: Path) -> Iterator[Browser]:
    """Start a headless Chromium."""
    ensure_program("chromium", "chromium")
    with sync_playwright() as playwright:
        microphone_file = f"--use-file-for-fake-audio-capture={microphone}"
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*OPTIONS, microphone_file]
        )
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def browser_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Return a function that opens an empty page in a new browser context; close all at the end."""
    yield browser.new_page
    for context in browser.contexts:
        context.close()


@pytest.fixture
def page(browser_page: Callable[[], Page]) -> Page:
    """Return an empty page."""
    return browser_page()
