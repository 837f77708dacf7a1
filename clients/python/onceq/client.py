"""Enqueue, explain and wait over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import random
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Unpack, cast
from urllib.parse import quote, urlsplit

from .errors import (DuplicateError, FailedError, GoneError, OnceqError, ProblemError, UnavailableError,
                     UncertainError)
from .shapes import Explanation, Job, JobInput, Options, Receipt

_RESENDS = 3
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTHS = ("delay", "timeout", "retention", "retention_failed", "window", "ttl")


class Lost(OnceqError):
    """The answer to a call was lost: it may have happened or not."""


class Client:
    """Calls an ``onceq serve``. Threads may share one: it keeps no connection."""

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 30,
                 tls: ssl.SSLContext | None = None) -> None:
        """url is that of the server (or set ONCEQ_URL), and token what it knows you
        by (or set ONCEQ_TOKEN). timeout is how many seconds one call waits for its
        answer. tls is for a certificate of your own."""
        self.url = (url or os.environ.get("ONCEQ_URL") or "http://127.0.0.1:8080").rstrip("/")
        self._token = os.environ.get("ONCEQ_TOKEN", "") if token is None else token
        self._timeout, self._tls = timeout, tls
        at = urlsplit(self.url)
        if at.scheme not in ("http", "https") or not at.hostname:
            raise ValueError(f"url {self.url!r} must be as http://127.0.0.1:8080")
        self._secure, self._host, self._port, self._path = at.scheme == "https", at.hostname, at.port, at.path

    def enqueue(self, kind: str, args: Any = None, *, idempotency_key: str | None = None,
                **options: Unpack[Options]) -> Receipt:
        """Make a job, unless it is there. args is any JSON; bytes stay as they are.

        If the answer is lost the call is sent again, and no second job is made.
        idempotency_key names the call beyond this process: with the same key the
        same call gets the first answer again, as long as the job is kept."""
        job = _input({"kind": kind, "args": args, **options})
        return cast(Receipt, self._send("/jobs", job, [job], idempotency_key))

    def enqueue_many(self, jobs: Sequence[JobInput], *, idempotency_key: str | None = None) -> list[Receipt]:
        """Make up to 10,000 jobs in one step. A rejected one is told by its outcome."""
        inputs = [_input(job) for job in jobs]
        return cast("list[Receipt]",
                    self._send("/jobs/batch", {"jobs": inputs}, inputs, idempotency_key)["receipts"])

    def explain(self, kind: str, args: Any = None, **options: Unpack[Options]) -> Explanation:
        """Say what enqueue would do now, and why. It changes nothing."""
        return cast(Explanation, self.call("POST", "/explain", _input({"kind": kind, "args": args, **options})))

    def job(self, id: str) -> Job:
        """One job. ProblemError with type "not-found": it is not there."""
        return cast(Job, self.call("GET", "/jobs/" + quote(id, "")))

    def wait(self, of: Receipt | str, timeout: float | None = None) -> Job:
        """Wait until a job is finished, and return it, with its result. If another
        one superseded it, that one is waited for.

        FailedError: it was discarded or cancelled. GoneError: it is not kept any
        more. TimeoutError: it was not finished within timeout seconds. A server
        that does not answer for a while does not end the wait."""
        id, seen = (of, False) if isinstance(of, str) else (of["job"]["id"], True)
        began = time.monotonic()
        pause = 0.02
        while True:
            try:
                job = self.job(id)
            except ProblemError as e:
                if e.type == "not-found" and seen:
                    raise GoneError(f"job {id} is not kept any more: how it ended is not known") from e
                if e.status < 500:
                    raise
            except (Lost, UnavailableError):
                pass  # it comes back
            else:
                seen = True
                if job["state"] == "cancelled" and job.get("superseded_by"):
                    id = job.get("superseded_by", id)
                    continue
                if job["state"] == "completed":
                    return job
                if job["state"] in ("discarded", "cancelled"):
                    raise FailedError(job)
            left = math.inf if timeout is None else began + timeout - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {id} was not finished within {timeout:g} s")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 2)

    def _send(self, path: str, body: Any, jobs: Sequence[Mapping[str, Any]], key: str | None) -> Any:
        """Enqueue, and again while the answer is lost."""
        kept = not any(_is_nothing(job, name) for job in jobs for name in ("retention", "retention_failed"))
        made = key is None and kept
        if made:
            key = new_id()
        lost: OnceqError | None = None  # the first try that may have happened
        last: OnceqError | None = None
        for attempt in range(1 + _RESENDS):
            if attempt:
                time.sleep(0.1 * 4 ** (attempt - 1) * (0.5 + random.random()))
            try:
                return self.call("POST", path, body,
                                 headers={} if key is None else {"Idempotency-Key": json.dumps(key)})
            except (Lost, UnavailableError, ProblemError) as e:
                if isinstance(e, Lost):
                    lost = lost or e
                elif lost is None and made and isinstance(e, ProblemError) and (e.field or "").endswith("id"):
                    key, made = None, False  # a store with partitions names its unique jobs itself
                elif lost is None and isinstance(e, ProblemError):
                    raise  # it is refused
                elif lost is None and attempt == _RESENDS:
                    raise
                last = e
                if lost is not None and key is None:
                    break
        raise UncertainError(f"{lost}; then: {last}" if last is not lost else str(lost), key) from lost

    def call(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None,
             timeout: float | None = None,
             began: Callable[[http.client.HTTPConnection], None] | None = None) -> Any:
        """Any call of docs/http.md, below /api/v1, and its answer.

        It raises UnavailableError before it was sent, and Lost after it. began is
        told the connection, which others may close to end the call."""
        wait = self._timeout if timeout is None else timeout
        if self._secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=wait, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=wait)
        try:
            try:
                connection.connect()
            except (OSError, http.client.HTTPException) as e:
                raise UnavailableError(f"{self.url} cannot be reached: {e}") from e
            if began is not None:
                began(connection)
            head = {"Accept": "application/json", **(headers or {})}
            if self._token:
                head["Authorization"] = "Bearer " + self._token
            if body is not None:
                head["Content-Type"] = "application/json"
            text = None if body is None else json.dumps(body, allow_nan=False).encode()
            try:
                connection.request(method, self._path + "/api/v1" + path, text, head)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as e:
                raise Lost(f"{method} {self.url}/api/v1{path} was sent, and no answer came: {e or type(e).__name__}"
                           ) from e
        finally:
            connection.close()
        return _answer(answer.status, content, f"{method} {self.url}/api/v1{path}")


def _answer(status: int, content: bytes, what: str) -> Any:
    try:
        said = json.loads(content)
    except ValueError as e:
        # A proxy answered, or the answer was cut: the server may have seen the call.
        text = content[:200].decode(errors="replace")
        raise Lost(f"{what} was answered with {status}, which is not JSON: {text!r}") from e
    if status < 400:
        return said
    problem = cast("Mapping[str, Any]", said if isinstance(said, dict) else {"status": status, "detail": str(said)})
    refused = ProblemError(problem)
    if refused.type == "uncertain" or status >= 500 and not refused.type:
        raise Lost(str(refused)) from refused
    raise DuplicateError(problem) if refused.type == "duplicate" else refused


def _input(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job as it goes in, of what Python has for its values."""
    into: dict[str, Any] = {}
    for name, value in job.items():
        if isinstance(value, timedelta) and name in _LENGTHS:
            into[name + "_ms"] = round(value / timedelta(milliseconds=1))
        elif isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError(f"{name} {value} must have a time zone")
            into[name] = value.isoformat()
        elif name == "args" and isinstance(value, (bytes, bytearray)):
            into["args_base64"] = base64.b64encode(value).decode()
        elif value is not None:
            into[name] = value
    return into


def _is_nothing(job: Mapping[str, Any], name: str) -> bool:
    """Whether a length is zero: "0", "0s" …"""
    said = job.get(name, job.get(name + "_ms", ""))
    return said == 0 if isinstance(said, int) else said != "" and not any(c in "123456789" for c in str(said))


def new_id() -> str:
    """An ID as the server makes them: 26 characters, which ascend with time."""
    n = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[n >> 5 * i & 31] for i in reversed(range(26)))
