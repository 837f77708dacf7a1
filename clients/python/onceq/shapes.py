"""What goes in and comes back, as docs/json.md describes it.

Answers are plain dicts. A server may answer with more members than these:
ignore those that you do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Length: TypeAlias = "str | timedelta"
"""A length of time: "90s", "1h30m", "7d", or a timedelta."""

State: TypeAlias = Literal["scheduled", "available", "running", "retryable", "completed", "discarded", "cancelled"]
Outcome: TypeAlias = Literal["inserted", "skipped", "rejected", "replaced", "coalesced", "superseded"]


class Options(TypedDict, total=False):
    """How a job is enqueued. What is not said is as the server's defaults say."""

    queue: str
    id: str
    delay: Length
    run_at: datetime | str  # in place of delay
    priority: int  # 0 (first) to 9
    max_attempts: int
    timeout: Length  # of a run
    retention: Length  # of a job that has completed
    retention_failed: Length  # of one that has not
    backoff: str  # "10s,1h,3": first wait, longest wait, factor
    meta: Mapping[str, Any]
    tags: Sequence[str]
    unique: bool
    by: Sequence[Literal["kind", "queue", "args", "meta"]]
    fields: Sequence[str]  # the key is made of these members of args
    meta_fields: Sequence[str]
    allow_blank: bool
    secret_key: bool
    unique_key: str  # a key of your own in place of args
    unique_scope: Sequence[Literal["kind", "queue", "key"]]
    until: Literal["due", "started", "finished", "succeeded", "failed", "deleted", "window-ends"]
    window: Length
    ttl: Length
    from_enqueue: bool
    on_conflict: str  # skip, reject, coalesce, supersede, replace:args,run_at or debounce:10s


class JobInput(Options):
    """One job of Client.enqueue_many."""

    kind: str
    args: NotRequired[Any]


class AttemptError(TypedDict):
    """Why an attempt failed."""

    attempt: int
    run: int
    at: str
    error: str
    stack: NotRequired[str]


class Job(TypedDict):
    """A job. Instants are RFC 3339 in UTC, and lengths milliseconds."""

    id: str
    kind: str
    queue: str
    state: State
    encoding: NotRequired[Literal["json", "bytes"]]
    args: NotRequired[Any]
    args_base64: NotRequired[str]
    encoded_by: NotRequired[str]
    meta: NotRequired[dict[str, Any]]
    tags: NotRequired[list[str]]
    priority: NotRequired[int]
    attempt: NotRequired[int]
    max_attempts: NotRequired[int]
    run: NotRequired[int]
    timeout_ms: NotRequired[int]
    retention_ms: NotRequired[int]
    retention_failed_ms: NotRequired[int]
    key: NotRequired[str]
    key_text: NotRequired[str]
    behind: NotRequired[str]
    superseded_by: NotRequired[str]
    worker: NotRequired[str]
    cancel_requested: NotRequired[bool]
    trace: NotRequired[dict[str, str]]
    enqueued_at: NotRequired[str]
    run_at: NotRequired[str]
    started_at: NotRequired[str]
    finished_at: NotRequired[str]
    keep_until: NotRequired[str]
    errors: NotRequired[list[AttemptError]]
    result: NotRequired[Any]


class Conflict(TypedDict):
    """Who has the key or the ID already, and what frees it."""

    by: Literal["key", "id"]
    holder: str
    args_differ: bool
    key: NotRequired[str]
    key_text: NotRequired[str]
    holder_kind: NotRequired[str]
    state: NotRequired[State]
    gone: NotRequired[bool]
    since: NotRequired[str]
    frees_at: NotRequired[str]
    frees_when: NotRequired[str]
    holder_due: NotRequired[str]
    keep_until: NotRequired[str]
    run_at_differs: NotRequired[bool]


class Receipt(TypedDict):
    """What an enqueue did."""

    outcome: Outcome
    duplicate: bool  # no job was made for this call
    job: Job  # that stands for it: the new one, or the holder
    conflict: Conflict | None


class Explanation(TypedDict):
    """What an enqueue would do now, and why."""

    outcome: Outcome
    key: str | None
    conflict: Conflict | None
    terms: dict[str, dict[str, Any]]  # each has a value, and from whom it is
    key_text: NotRequired[str]
    hint: NotRequired[str]
