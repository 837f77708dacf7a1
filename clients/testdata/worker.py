"""A worker whose handlers say what they do on stdout."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import onceq

logging.basicConfig(level=logging.WARNING)


def says(run: onceq.Run, what: str) -> None:
    print(what, run.job["id"], flush=True)


def add(run: onceq.Run) -> Any:
    return {"sum": sum(run.args)}


def fail(run: onceq.Run) -> None:
    raise ValueError("as it was asked to")


def discard(run: onceq.Run) -> None:
    raise onceq.Discard("no such user")


def cancel(run: onceq.Run) -> None:
    raise onceq.Cancel("not needed")


def snooze(run: onceq.Run) -> None:
    if run.job.get("run") == 1:
        raise onceq.Snooze(0.01)


def large(run: onceq.Run) -> str:
    return "x" * 300_000


def patient(run: onceq.Run) -> None:
    """Ends when it is told to."""
    says(run, "began")
    run.stop.wait()
    says(run, run.why)
    raise RuntimeError("ended early")


def deaf(run: onceq.Run) -> None:
    """Does not hear that it should end."""
    says(run, "began")
    time.sleep(600)


def slow(run: onceq.Run) -> None:
    """Goes on until a file is there."""
    says(run, "began")
    while not os.path.exists(run.args):
        time.sleep(0.01)


class Worker(onceq.Worker):
    def stop(self) -> None:
        super().stop()
        print("stopping", flush=True)


worker = Worker(
    onceq.Client(),
    {"add": add, "fail": fail, "discard": discard, "cancel": cancel, "snooze": snooze, "large": large,
     "patient": patient, "deaf": deaf, "slow": slow},
    queues={"default": 2, "other": 1}, grace=float(os.environ.get("GRACE", "25")))
worker.run()
print("ended", flush=True)
