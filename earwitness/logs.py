"""Logs on standard error, one line for each change of state: JSON, or colours on a terminal.

No line has a secret of ours: the HTTP server logs the URL of a malformed request, and the URL of a
dialplan's request has its token.
"""

import logging
import re
import sys

# structlog imports rich if it is there, for tracebacks: 6 MB in every process, and we log JSON.
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

del sys.modules["rich"]

# The secrets of tokens, webhooks and links, also where a URL is quoted in another one.
SECRETS = re.compile(r"((?:\b|%3[Dd])ew_|\bwhsec_|/shared/)[A-Za-z0-9+/_=-]{32,}")


def configure_logs(level: int = logging.INFO) -> None:
    """Send our logs and those of libraries through one formatter."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderers: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    if sys.stderr.isatty():
        renderers = [structlog.dev.ConsoleRenderer()]
    renderers.append(_hide_secrets)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("alembic", "botocore", "urllib3", "gunicorn.access", "procrastinate"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _hide_secrets(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    """Replace each secret in a rendered line by its kind, such as `ew_…`."""
    return SECRETS.sub(r"\1…", str(line))
