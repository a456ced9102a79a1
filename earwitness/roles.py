"""The four roles: `watch`, `work`, `api` and `media`; each runs until SIGTERM."""

import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from earwitness.config import Config
from earwitness.private import close_files
from earwitness.signals import until_signal, wait_for_signal
from earwitness.wiring import Wiring, oidc_settings
from storage.errors import CatalogueUnavailable

log = structlog.get_logger()


def watch(config: Config) -> None:
    """Follow every PBX of the configuration."""
    # Many threads work for short times; the default lets each wait 5 ms for another.
    sys.setswitchinterval(0.0005)
    stop = threading.Event()
    threads: list[threading.Thread] = []
    with until_signal():
        wiring = Wiring(config)
        retrying(wiring.catalogue.migrate)
        for one in wiring.watches:
            threads.append(threading.Thread(target=one.run, args=(stop,), daemon=True))
            threads[-1].start()
        wait_for_signal()
    stop.set()
    for thread in threads:
        thread.join()


def work(config: Config) -> None:
    """Finish recordings, and deliver events to webhooks."""
    with until_signal():
        from recorder.work import deliveries, tasks
        from storage import jobs

        wiring = Wiring(config)
        retrying(wiring.catalogue.migrate)
        retrying(lambda: tasks.drop_foreign_events(wiring.catalogue))
        wiring.spool.mkdir(parents=True, exist_ok=True)
        close_files(config.data.directory)
        tasks.clear_spool(wiring.spool, datetime.now(UTC) - tasks.RESTS_KEPT_FOR)
        context = {
            "finisher": wiring.finisher,
            "bulks": wiring.bulks,
            "trials": wiring.trials,
            "campaigns": wiring.campaigns,
            "catalogue": wiring.catalogue,
            "deliverer": wiring.deliverer,
            "callbacks": wiring.callbacks,
        }
        with deliveries.looking(wiring.catalogue):
            retrying(lambda: jobs.run_worker(wiring.catalogue.url, context, tasks.QUEUES))


def api(config: Config) -> None:
    """Answer HTTP from the start on: while the database is away, the answers say so."""
    with until_signal():
        from api.app import ApiSettings, build_app
        from api.server import serve

        settings = ApiSettings(
            public_url=config.server.public_url,
            pbxs=tuple(pbx.name for pbx in config.pbx),
            media_url=config.media.public_url,
            media_port=config.media.port,
            rules=config.rules,
            default_action=config.default_action,
            dialplan_addresses={
                pbx.name: addresses_of([pbx.url])
                for pbx in config.pbx
                if pbx.dialplan_without_token
            },
            proxies=config.server.proxies,
            allow_private_addresses=config.webhooks.allow_private_addresses,
            oidc=oidc_settings(config),
            passwords=config.oidc.passwords,
        )

        def build() -> Any:
            wiring = Wiring(config)  # each worker has its own connections
            migrate = threading.Thread(target=retrying, args=(wiring.catalogue.migrate,))
            migrate.daemon = True
            migrate.start()
            return build_app(
                wiring.catalogue,
                wiring.objects,
                wiring.capture,
                wiring.spies,
                settings,
                dialler=wiring.dialler,
                callbacks=wiring.callbacks,
                campaigns=wiring.campaigns,
                conferences=wiring.conferences,
                programs=wiring.programs,
            )

        Wiring(config).load()
        if config.server.lacks_front:
            log.warning("server.without-front", host=config.server.host)
        serve(build, config.server.host, config.server.port, proxies=config.server.proxies)


def media(config: Config) -> None:
    """Carry the audio of calls to browsers, and their microphones to the calls."""
    with until_signal():
        from recorder.media.server import serve

        wiring = Wiring(config)
        retrying(wiring.catalogue.migrate)
        serve(wiring.spies, wiring.catalogue, wiring.pbxs, config.media.host, config.media.port)


def addresses_of(urls: Iterable[str]) -> frozenset[str]:
    """Return the IP addresses of these hosts; skip a host that DNS does not know now."""
    found: set[str] = set()
    for url in urls:
        with suppress(OSError):
            found |= {str(one[4][0]) for one in socket.getaddrinfo(urlsplit(url).hostname, None)}
    return frozenset(found)


ROLES: dict[str, Callable[[Config], None]] = {
    "api": api,
    "watch": watch,
    "work": work,
    "media": media,
}


def retrying(action: Callable[[], None]) -> None:
    """Run the action, and retry while PostgreSQL is away; log each new error once."""
    logged = ""

    def log_once(state: Any) -> None:
        nonlocal logged
        error = str(state.outcome.exception())
        if error != logged:
            log.warning("database.unavailable", error=error)
        logged = error

    Retrying(
        retry=retry_if_exception_type(CatalogueUnavailable),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        before_sleep=log_once,
    )(action)
