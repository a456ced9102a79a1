"""Compress text answers for clients that accept a coding.

Event streams, audio and parts of files go out as they are. Pages hold a secret, the CSRF token, in
another form each time (`api/csrf.py`), so that their length tells nothing about it.
"""

from flask import Flask
from flask_compress import Compress

SMALLEST_BYTES = 1000
TEXTS = [
    "application/json",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/plain",
]


def compress_answers(app: Flask) -> None:
    """Compress the answers of an application; call it before others register `after_request`."""
    app.config["COMPRESS_ALGORITHM"] = ["zstd", "br", "gzip"]
    app.config["COMPRESS_MIMETYPES"] = TEXTS
    app.config["COMPRESS_MIN_SIZE"] = SMALLEST_BYTES
    app.config["COMPRESS_STREAMS"] = False
    Compress(app)
