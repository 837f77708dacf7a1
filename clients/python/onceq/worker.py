"""Run jobs that an ``onceq serve`` hands out. docs/http.md has the rules."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from .client import Client, Lost
from .errors import Cancel, Discard, OnceqError, ProblemError, Snooze, UnavailableError
from .shapes import Job

_WAIT = 20.0  # seconds that a fetch waits for a job
_LAST = 5.0  # seconds that handlers have once they were told to end


class Run:
    """One run of a job, for its handler."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.args: Any = job.get("args")
        self.stop = threading.Event()
        """Set when the handler should end early: why says for what reason."""
        self.why = ""
        """ "stop" (somebody cancelled the job), "timeout", "lost" (it may run
        elsewhere by now, and its result does not count) or "shutdown"."""
        self.lost = False  # the server said so: there is nothing to finish


def _end(run: Run, why: str) -> None:
    if not run.stop.is_set():
        run.why = why
        run.stop.set()


class Worker:
    """Fetches jobs and runs them, each in a thread.

    Execution is at least once: a job whose worker dies, or is out of reach for
    longer than the lease, runs again. So a handler has to bear being repeated."""

    def __init__(self, client: Client, handlers: Mapping[str, Callable[[Run], Any]], *,
                 queues: Mapping[str, int] | None = None, name: str = "python", grace: float = 25,
                 log: logging.Logger | None = None) -> None:
        """handlers has a function for each kind. What it returns is the result of
        the job, any JSON; an exception means that the attempt failed. queues says
        how many jobs of each run at once ({"default": 1}), and grace how many
        seconds a stop waits for those that run."""
        if not handlers:
            raise ValueError("handlers must have a function for at least one kind")
        self._client, self._handlers, self._grace, self._name = client, dict(handlers), grace, name
        self._queues = dict(queues or {"default": 1})
        self._log = log or logging.getLogger("onceq")
        self._changed = threading.Condition()  # and the lock of what follows
        self._runs: dict[tuple[str, int], Run] = {}  # in hand
        self._done = 0  # the last fetch whose answer is among them
        self._poll: http.client.HTTPConnection | None = None
        self._stopping = False
        self._ended = threading.Event()
        self._heard = 0.0  # when the server last knew what is in hand
        self._lease = 0.0

    def stop(self) -> None:
        """Let run return: it fetches nothing more, and waits for what runs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._cut_poll()

    def _cut_poll(self) -> None:
        if self._poll is not None and self._poll.sock is not None:
            try:
                self._poll.sock.shutdown(socket.SHUT_RDWR)  # the server hands back what it fetched meanwhile
            except OSError:
                pass

    def run(self) -> None:
        """Work until stop is called or, in the main thread, SIGTERM or Ctrl-C
        comes; a second one ends the process at once. ProblemError: the server
        refuses this worker, for instance its token."""
        usual = self._signals() if threading.current_thread() is threading.main_thread() else {}
        try:
            self._work()
        finally:
            for s, handler in usual.items():
                signal.signal(s, handler)

    def _signals(self) -> dict[int, Any]:
        usual: dict[int, Any] = {}

        def stop(signum: int, _: Any) -> None:
            for s, handler in usual.items():
                signal.signal(s, signal.SIG_DFL if s == signal.SIGTERM else handler)
            self.stop()

        for s in (signal.SIGTERM, signal.SIGINT):
            usual[s] = signal.signal(s, stop)
        return usual

    def _work(self) -> None:
        about = {"host": socket.gethostname(), "pid": os.getpid(), "lang": "python",
                 "version": "Python " + sys.version.split()[0]}
        join = {"name": self._name, "queues": self._queues, "kinds": sorted(self._handlers), "about": about}
        me = self._joined(join)
        if me is None:
            return
        self._me, self._lease = me["worker"], me["lease_ms"] / 1000
        self._heard = time.monotonic()
        beats = threading.Thread(target=self._beat, args=(me["beat_ms"] / 1000,), daemon=True)
        beats.start()
        try:
            self._fetch()
        finally:
            self._drain()
            self._ended.set()
            self._leave()

    def _joined(self, join: Mapping[str, Any]) -> Any:
        while True:
            try:
                return self._client.call("POST", "/workers", join)
            except (Lost, UnavailableError, ProblemError) as e:  # a name that nobody uses is forgotten
                if isinstance(e, ProblemError) and not _passes(e):
                    raise
                self._log.warning("the server does not answer yet: %s", e)
            with self._changed:
                if self._stopping or self._changed.wait_for(lambda: self._stopping, 1):
                    return None

    def _fetch(self) -> None:
        no = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or any(n > 0 for n in self._free().values()))
                if self._stopping:
                    return
                free = {q: n for q, n in self._free().items() if n > 0}
                runs = self._in_hand()
            no += 1  # also after an error
            wait = min(_WAIT, self._lease / 3) if len(free) == len(self._queues) else 1.0
            sent = time.monotonic()
            try:
                got = self._client.call("POST", "/fetch", {
                    "worker": self._me, "no": no, "runs": runs, "queues": free, "kinds": sorted(self._handlers),
                    "wait_ms": round(wait * 1000)}, timeout=wait + 15, began=self._polls)
            except (Lost, UnavailableError, ProblemError) as e:
                if isinstance(e, ProblemError) and not _passes(e):
                    raise
                with self._changed:
                    if not self._stopping:
                        self._log.warning("fetch: %s", e)
                        self._changed.wait_for(lambda: self._stopping, 1)
                continue
            finally:
                with self._changed:
                    self._poll = None
            begun: list[Run] = []
            with self._changed:  # what is in hand and the number change in one step
                self._done = no
                for job in got["jobs"]:
                    run = Run(job)
                    self._runs[job["id"], job["run"]] = run
                    begun.append(run)
            self._told(got, sent)
            for run in begun:
                threading.Thread(target=self._handle, args=(run,), daemon=True).start()

    def _polls(self, connection: http.client.HTTPConnection) -> None:
        with self._changed:
            self._poll = connection
            if self._stopping:
                self._cut_poll()

    def _free(self) -> dict[str, int]:
        free = dict(self._queues)
        for run in self._runs.values():
            free[run.job["queue"]] -= 1
        return free

    def _in_hand(self) -> list[dict[str, Any]]:
        return [{"id": id, "run": run} for id, run in self._runs]

    def _told(self, answer: Mapping[str, Any], sent: float) -> None:
        """Take in what the server says of the runs in hand."""
        with self._changed:
            self._heard = max(self._heard, sent)
            for name, why in (("lost", "lost"), ("stop", "stop")):
                for said in answer[name]:
                    run = self._runs.get((said["id"], said["run"]))
                    if run is not None:
                        run.lost = run.lost or why == "lost"
                        _end(run, why)

    def _beat(self, every: float) -> None:
        pause = every
        while not self._ended.wait(pause):
            with self._changed:
                body = {"worker": self._me, "runs": self._in_hand(), "fetches_done": self._done}
            sent = time.monotonic()
            try:
                self._told(self._client.call("POST", "/extend", body, timeout=max(every, 5)), sent)
                pause = every
            except OnceqError as e:
                self._log.warning("heartbeat: %s", e)
                pause = min(1, every)
            with self._changed:
                if time.monotonic() - self._heard > self._lease:
                    for run in self._runs.values():
                        _end(run, "lost")

    def _handle(self, run: Run) -> None:
        job = run.job
        limit = threading.Timer(job.get("timeout_ms", 0) / 1000, _end, (run, "timeout"))
        limit.daemon = True
        if job.get("timeout_ms"):
            limit.start()
        verdict: dict[str, Any] = {"outcome": "completed"}
        try:
            result = self._handlers[job["kind"]](run)
            if result is not None:
                json.dumps(result, allow_nan=False)
                verdict["result"] = result
        except Snooze as e:
            verdict = {"outcome": "snoozed", "delay_ms": max(0, round(e.seconds * 1000))}
        except BaseException as e:
            verdict = {"outcome": "failed", "error": str(e) or repr(e), "stack": traceback.format_exc()}
            if isinstance(e, (Discard, Cancel)):
                verdict["outcome"] = "discarded" if isinstance(e, Discard) else "cancelled"
            elif isinstance(e, Exception) and str(e):
                verdict["error"] = f"{type(e).__name__}: {e}"
        limit.cancel()
        self._finish(run, verdict)
        with self._changed:
            self._runs.pop((job["id"], job.get("run", 0)), None)
            self._changed.notify_all()

    def _finish(self, run: Run, verdict: Mapping[str, Any]) -> None:
        """Say how a run ended, until there is an answer: a repeat gets the first one."""
        job, pause = run.job, 0.1
        while not run.lost and not self._ended.is_set():
            try:
                self._client.call("POST", f"/jobs/{quote(job['id'], '')}/finish",
                                  {"worker": self._me, "run": job.get("run"), **verdict})
                return
            except ProblemError as e:
                if e.type == "gone":  # it was done, and the job is not kept
                    return
                if e.type == "lease-lost":
                    self._log.warning("job %s: %s", job["id"], e.detail)
                    return
                if not _passes(e):
                    self._log.error("job %s: %s", job["id"], e)
                    if "result" not in verdict:
                        return
                    verdict = {"outcome": "failed", "error": "the result was refused: " + e.detail}
                    continue
            except (Lost, UnavailableError) as e:
                self._log.warning("finish of job %s: %s", job["id"], e)
            self._ended.wait(pause)
            pause = min(2 * pause, 5)

    def _drain(self) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: not self._runs, self._grace):
                return
            for run in self._runs.values():
                _end(run, "shutdown")
            self._changed.wait_for(lambda: not self._runs, _LAST)

    def _leave(self) -> None:
        """Hand back what still runs. If that fails the end of the lease does it."""
        try:
            self._client.call("POST", "/extend", {"worker": self._me, "leave": True}, timeout=5)
        except OnceqError as e:
            self._log.warning("leave: %s", e)


def _passes(e: ProblemError) -> bool:
    """Whether the same call may be answered later."""
    return e.status >= 500 or e.status == 429
