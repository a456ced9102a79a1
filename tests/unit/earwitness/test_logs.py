"""The lines of the log."""

import subprocess
import sys

TOKEN = "ew_" + "aB3-_" * 8 + "xyz"
LINK = "aB3-_" * 8 + "xyz"
SCRIPT = """
import logging
import sys
import structlog
from earwitness.logs import configure_logs

configure_logs()
log = logging.getLogger("gunicorn.error")
log.warning("Invalid request from ip=::1: GET /api/v1/dialplan/record?token=%s&to=x", sys.argv[1])
log.warning("GET http://%s@pbx/ and token%%3D%s", sys.argv[1], sys.argv[1])
log.warning("Invalid HTTP version 'b&token=%s /shared/%s/audio'", sys.argv[1], sys.argv[2])
try:
    raise ValueError(sys.argv[1])
except ValueError:
    structlog.get_logger().exception("request.failed", path="/a/" + sys.argv[1])
"""


def test_no_line_has_a_secret() -> None:
    """Tokens and links are hidden, also in the URL of a malformed request and in a traceback."""
    command = [sys.executable, "-c", SCRIPT, TOKEN, LINK]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert written.count("\n") == 4
    assert TOKEN not in written
    assert TOKEN[3:] not in written
    assert LINK not in written
    assert written.count("ew_\\u2026") + written.count("ew_…") >= 6
    assert "ValueError" in written
    assert "/api/v1/dialplan/record" in written
