"""Health checks and metrics, for operators."""

from typing import Literal

from flask import Response
from pydantic import Field

from api.fields.base import Answer
from api.health import check_parts
from api.metrics import MEDIA_TYPE
from api.operation import OPEN, Operations, Reply, answer, json
from api.services import services
from storage.permissions import METRICS_READ

operations = Operations("", tag="operation")


class Alive(Answer):
    """The process answers."""

    status: Literal["alive"]


class Checked(Answer):
    """The state of one part."""

    name: str = Field(examples=["database", "objects", "pbx.main"])
    ok: bool
    state: str = Field(examples=["connected", "unreachable", "unwatched", "unavailable"])
    detail: str


class Readiness(Answer):
    """The state of the service, and of each part."""

    status: Literal["ready", "not-ready"]
    checks: list[Checked]


@operations.get("/health/live", OPEN, json(Alive))
def get_alive() -> Response:
    """Check that the process answers."""
    return answer({"status": "alive"})


@operations.get(
    "/health/ready",
    OPEN,
    {200: Reply("Every part works.", Readiness), 503: Reply("A part does not work.", Readiness)},
)
def get_ready() -> Response:
    """Check the database, the object store and every PBX."""
    checks = check_parts(services().catalogue, services().store_probe, services().settings.pbxs)
    ready = all(check.ok for check in checks)
    fields = {"status": "ready" if ready else "not-ready", "checks": checks}
    return answer(fields, 200 if ready else 503)


@operations.get(
    "/metrics", METRICS_READ, {200: Reply("Prometheus' text format.", media_types=(MEDIA_TYPE,))}
)
def get_metrics() -> Response:
    """Get the metrics of all processes behind this port."""
    return Response(services().metrics.render(), mimetype=MEDIA_TYPE)
