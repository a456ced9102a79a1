"""A real nginx with `deploy/nginx/nginx.conf`, on free ports and with a certificate of its own."""

import http.client
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.ports import free_port
from lab.root import REPOSITORY, ensure_program
from lab.waiting import until

CONFIGURATION = REPOSITORY / "deploy" / "nginx" / "nginx.conf"
STARTS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Front:
    """The running nginx: the port for TLS, the port without, its certificate and its logs."""

    port: int
    plain_port: int
    certificate: Path
    requests_log: Path
    errors_log: Path


@contextmanager
def front(directory: Path, api_port: int, media_port: int | None = None) -> Iterator[Front]:
    """Run the front of an API, and of a media server, on this machine."""
    ensure_program("nginx", "nginx-light")
    ensure_program("openssl", "openssl")
    built = _write(directory / "nginx", api_port, media_port or free_port())
    command = ["nginx", "-c", str(directory / "nginx" / "nginx.conf"), "-e", str(built.errors_log)]
    options = ["-g", f"daemon off; pid {directory / 'nginx' / 'pid'};"]
    with built.requests_log.open("ab") as out, built.errors_log.open("ab") as errors:
        subprocess.run([*command, "-t", *options], check=True, stdout=out, stderr=errors)
        process = subprocess.Popen([*command, *options], stdout=out, stderr=errors)
    try:
        until(lambda: _answers(built.port) and process.poll() is None, STARTS_WITHIN_S)
        yield built
    finally:
        process.terminate()
        process.wait(15)


def _write(directory: Path, api_port: int, media_port: int) -> Front:
    """Copy the shipped file, and write the two files that an administrator writes."""
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    shutil.copy(CONFIGURATION, directory)
    key, certificate = directory / "front.key", directory / "front.crt"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += ["-nodes", "-days", "30", "-subj", "/CN=localhost", "-keyout", str(key)]
    made += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    port, plain_port = free_port(), free_port()
    (directory / "addresses.conf").write_text(
        f"upstream earwitness_api {{ server 127.0.0.1:{api_port}; keepalive 32; }}\n"
        f"upstream earwitness_media {{ server 127.0.0.1:{media_port}; }}\n"
        f"server {{ listen 127.0.0.1:{plain_port}; return 301 https://$host$request_uri; }}\n"
    )
    (directory / "listen.conf").write_text(
        f"listen 127.0.0.1:{port} ssl http2;\n"
        f"ssl_certificate {certificate};\nssl_certificate_key {key};\n"
    )
    return Front(port, plain_port, certificate, directory / "requests", directory / "errors")


def _answers(port: int) -> bool:
    context = ssl._create_unverified_context()  # noqa: S323
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
    with closing(connection):
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except OSError:
            return False
