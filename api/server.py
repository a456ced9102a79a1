"""The HTTP server: gunicorn in this process, with workers that each build their own application."""

import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from api.feed import MOST_STREAMS
from api.metrics import MULTIPROCESS
from api.services import EXTENSION
from api.worker import Worker, WorkerBehindProxy
from storage.errors import ConfigurationInvalid

AppFactory = Callable[[], Flask]

GRACEFUL_TIMEOUT_S = 6  # the whole service has 10 s to end
KEEP_ALIVE_S = 15
THREADS = MOST_STREAMS + 32  # one for each stream, the rest for audio and other requests
BACKLOG = 512
MOST_CONNECTIONS = 4096  # of a worker; most of them wait, and hold no thread
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(
    app_factory: AppFactory,
    host: str,
    port: int,
    *,
    proxies: int = 0,
    workers: int = 2,
    threads: int = THREADS,
) -> None:
    """Serve until SIGTERM or SIGINT, then end within 10 s.

    A thread is created when it is first needed, so a high number of threads costs little. Without
    proxies before us the connections of one address are bounded.

    Raises ConfigurationInvalid if the address cannot be used, and SystemExit at the end.
    """
    listener = _listen(host, port)
    with tempfile.TemporaryDirectory(prefix="earwitness-metrics-") as directory:
        os.environ[MULTIPROCESS] = directory
        settings = {**SETTINGS, "workers": workers, "threads": threads}
        settings["worker_class"] = WorkerBehindProxy if proxies else Worker
        settings["worker_connections"] = _most_connections()
        # Where the package setproctitle is installed, gunicorn replaces our command line by this.
        settings["proc_name"] = " ".join(sys.argv)
        settings["bind"] = f"fd://{listener.detach()}"
        _run(_Server(app_factory, settings))


def _run(server: "_Server") -> None:
    """Run the arbiter, and end each worker process here.

    A worker is a fork of this call stack. If it returned, it would run the cleanup of our callers,
    and wait for threads that still write to clients.
    """
    arbiter = os.getpid()
    try:
        server.run()
    except SystemExit as end:
        if os.getpid() != arbiter:
            sys.stderr.flush()
            os._exit(int(end.code or 0))
        raise
    except (
        HaltServer
    ) as halt:  # a second worker failed while the arbiter ended because of the first
        raise SystemExit(halt.exit_status) from halt


class _Log(Logger):  # type: ignore[misc]  # the library has no types
    """The logger of gunicorn: warnings go to our log, and there is no line per request.

    A request that is not HTTP is no warning: strangers could fill the log.
    """

    def setup(self, cfg: Any) -> None:
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.disabled = True

    def warning(self, msg: str, *args: Any, **options: Any) -> None:
        """Log a warning, unless it is about the request of a client."""
        level = logging.DEBUG if msg.startswith("Invalid request") else logging.WARNING
        self.error_log.log(level, msg, *args, **options)


def _end_with_arbiter(arbiter: Any, worker: Any) -> None:
    """Kill the worker when its arbiter dies; it would hold the port for seconds."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_streams_with_worker(worker: Any) -> None:
    """End the event streams on SIGTERM, because a worker waits for all running requests.

    The handler runs in the main thread, which serves no request, so it holds no lock of the feed.
    """
    services = worker.wsgi.extensions.get(EXTENSION)
    end = signal.getsignal(signal.SIGTERM)

    def end_all(number: int, frame: Any) -> None:
        if services is not None:
            services.feed.close()
        if callable(end):
            end(number, frame)

    signal.signal(signal.SIGTERM, end_all)


SETTINGS = {
    "post_fork": _end_with_arbiter,
    "post_worker_init": _end_streams_with_worker,
    "preload_app": False,  # processes must not share a connection pool
    "graceful_timeout": GRACEFUL_TIMEOUT_S,
    "keepalive": KEEP_ALIVE_S,
    "backlog": BACKLOG,
    "logger_class": _Log,
    "control_socket_disable": True,
    "umask": 0o077,  # gunicorn would replace ours by 0
    # `server.public_url` is the address for clients; no header of a request changes it.
    "forwarded_allow_ips": "",
    "secure_scheme_headers": {},
    "forwarder_headers": "",
}


class _Server(BaseApplication):  # type: ignore[misc]  # the library has no types
    def __init__(self, app_factory: AppFactory, settings: dict[str, Any]) -> None:
        self._app_factory = app_factory
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the application, in each worker, after the fork."""
        return self._app_factory()


def _most_connections() -> int:
    """Return how many connections a worker takes: the threads open files of their own."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(THREADS + 64, min(MOST_CONNECTIONS, allowed - 2 * THREADS))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # Python appends the address to its message. An unknown host name has codes of its own.
        is_code = not isinstance(error, socket.gaierror) and error.errno is not None
        reason = os.strerror(error.errno or 0) if is_code else str(error.strerror)
        raise ConfigurationInvalid(
            f"server.port: cannot listen on {host}:{port}: {reason}"
        ) from error
