"""Does what lines of JSON on stdin say, and answers each with a line."""

from __future__ import annotations

import json
import sys
from typing import Any

import onceq

client = onceq.Client(timeout=10)


def do(call: str, said: dict[str, Any]) -> Any:
    options: onceq.Options = said.get("options", {})
    match call:
        case "enqueue":
            return client.enqueue(said["kind"], said.get("args"), idempotency_key=said.get("key"), **options)
        case "enqueue_many":
            return client.enqueue_many(said["jobs"], idempotency_key=said.get("key"))
        case "explain":
            return client.explain(said["kind"], said.get("args"), **options)
        case "wait":
            return client.wait(said["id"], said.get("timeout"))
        case "wait_for":
            return client.wait(said["receipt"], said.get("timeout"))
        case _:
            raise ValueError(call)


for line in sys.stdin:
    said = json.loads(line)
    try:
        answer: dict[str, Any] = {"ok": do(said["call"], said)}
    except (onceq.OnceqError, TimeoutError) as e:
        answer = {"error": type(e).__name__, "message": str(e)}
        if isinstance(e, onceq.ProblemError):
            answer |= {"type": e.type, "field": e.field}
        if isinstance(e, onceq.DuplicateError):
            answer["holder"] = e.conflict["holder"]
        if isinstance(e, onceq.UncertainError):
            answer["key"] = e.idempotency_key
        if isinstance(e, onceq.FailedError):
            answer["state"] = e.job["state"]
    print(json.dumps(answer), flush=True)
