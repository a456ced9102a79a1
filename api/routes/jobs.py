"""Failed jobs: list, retry or dismiss them."""

from flask import Response

from api.auth import audit_done
from api.fields.base import ListQuery, Nothing, list_fields
from api.fields.system import FailedJobList, job_fields
from api.operation import Operations, Reply, answer, json
from api.services import services
from storage.catalogue import failed_jobs
from storage.errors import BadCursor, NoSuchJob
from storage.permissions import SYSTEM_READ, SYSTEM_WRITE

operations = Operations("/api/v1", tag="system")


@operations.get("/jobs", SYSTEM_READ, json(FailedJobList), query=ListQuery, errors=(BadCursor,))
def list_jobs(query: ListQuery) -> Response:
    """List the failed jobs, newest first."""
    with services().catalogue.begin() as tx:
        page = failed_jobs.list_failed_jobs(tx, **query.model_dump())
    return answer(list_fields(page, job_fields))


@operations.post(
    "/jobs/<int:job_id>/retry",
    SYSTEM_WRITE,
    {204: Reply("The job runs again; its failed recording is `captured` again.")},
    body=Nothing,
    errors=(NoSuchJob,),
)
def retry_job(job_id: int) -> Response:
    """Retry a failed job after its cause is fixed."""
    with services().catalogue.begin() as tx:
        task, subject = failed_jobs.retry_job(tx, job_id)
        audit_done(tx, "job.retry", subject, task=task)
    return Response(status=204)


@operations.delete(
    "/jobs/<int:job_id>",
    SYSTEM_WRITE,
    {204: Reply("The job is no longer listed; its failed recording stays `failed`.")},
    errors=(NoSuchJob,),
)
def forget_job(job_id: int) -> Response:
    """Dismiss a failed job, so that it is no longer listed."""
    with services().catalogue.begin() as tx:
        task, subject = failed_jobs.forget_job(tx, job_id)
        audit_done(tx, "job.forget", subject, task=task)
    return Response(status=204)
