"""The errors. Each says in words what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .shapes import Conflict, Job


class OnceqError(Exception):
    """Any error of this package."""


class ProblemError(OnceqError):
    """The server refused a call, for a reason (RFC 9457). Its text is the reason."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = problem  # the whole document
        self.type = str(problem.get("type", "")).removeprefix("urn:onceq:")  # "invalid", "duplicate" …
        self.status = int(problem.get("status", 0))
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("request_id", ""))  # the server's log has it too
        self.field = cast("str | None", problem.get("field"))  # of an invalid value
        super().__init__(f"{problem.get('title', self.status)}: {self.detail}")


class DuplicateError(ProblemError):
    """on_conflict="reject" met a job that is there already."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem)
        self.conflict = cast(Conflict, problem["conflict"])
        self.job = cast("Job | None", problem.get("job"))  # None: this token may not see it


class UnavailableError(OnceqError):
    """The server cannot be reached, and nothing has happened."""


class UncertainError(OnceqError):
    """No answer came: the jobs may have been enqueued or not.

    The same call with idempotency_key=error.idempotency_key finds out, and makes
    no second job. It is None if the job is not kept, so that nobody could know.
    """

    def __init__(self, detail: str, idempotency_key: str | None) -> None:
        self.idempotency_key = idempotency_key
        super().__init__(detail)


class FailedError(OnceqError):
    """The job that was waited for was discarded or cancelled."""

    def __init__(self, job: Job) -> None:
        self.job = job
        errors: Sequence[Any] = job.get("errors") or []
        why = f": {errors[-1]['error']}" if errors else ""
        super().__init__(f"job {job['id']} is {job['state']}{why}")


class GoneError(OnceqError):
    """The job that was waited for is not kept any more: how it ended is not known."""


class Discard(OnceqError):
    """Raise it in a handler: the job failed, and is not tried again."""


class Cancel(OnceqError):
    """Raise it in a handler: the job is cancelled."""


class Snooze(OnceqError):
    """Raise it in a handler: run again after so many seconds. No attempt is spent."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"again in {seconds:g} s")
