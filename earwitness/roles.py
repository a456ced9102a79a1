"""The three roles: `watch`, `work` and `api`; each runs until SIGTERM."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import structlog
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from earwitness.config import Config
from earwitness.wiring import Parts
from storage.errors import CatalogueUnavailable

log = structlog.get_logger()


def migrate(parts: Parts) -> None:
    """Bring the database to this version; wait for it where it is away."""
    attempts = Retrying(
        retry=retry_if_exception_type(CatalogueUnavailable),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        before_sleep=lambda state: log.warning("database.unavailable", error=_error(state)),
    )
    attempts(parts.catalogue.migrate)


def watch(config: Config) -> None:
    """Follow every PBX of the configuration."""
    parts = Parts(config)
    stop = _stop_on_signals()
    migrate(parts)
    threads = [
        threading.Thread(target=one.run, args=(stop,), name=f"watch-{index}")
        for index, one in enumerate(parts.watches)
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()


def work(config: Config) -> None:
    """Finish recordings."""
    from recorder import tasks  # noqa: F401  # registers the jobs
    from storage import jobs

    parts = Parts(config)
    migrate(parts)
    parts.spool.mkdir(parents=True, exist_ok=True)
    jobs.run_worker(parts.database_url, {"finisher": parts.finisher}, concurrency=2)


def api(config: Config) -> None:
    """Answer HTTP."""
    from api.app import ApiSettings, build_app
    from api.server import serve as serve_http

    migrate(Parts(config))

    def build() -> Any:
        parts = Parts(config)  # each gunicorn worker has its own connections
        settings = ApiSettings(
            public_url=config.server.public_url, pbxs=tuple(pbx.name for pbx in config.pbx)
        )
        return build_app(parts.catalogue, parts.objects, parts.capture, settings)

    serve_http(build, config.server.host, config.server.port)


ROLES: dict[str, Callable[[Config], None]] = {"api": api, "watch": watch, "work": work}


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _error(state: Any) -> str:
    return str(state.outcome.exception())
