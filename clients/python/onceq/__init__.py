"""Client and worker of onceq, a job queue in which a duplicate cannot get in.

    client = onceq.Client("http://127.0.0.1:8080")
    receipt = client.enqueue("mail", {"to": "ada"}, unique=True)
    onceq.Worker(client, {"mail": send}).run()
"""

from .client import Client
from .errors import (Cancel, Discard, DuplicateError, FailedError, GoneError, OnceqError, ProblemError, Snooze,
                     UnavailableError, UncertainError)
from .shapes import Conflict, Explanation, Job, JobInput, Options, Receipt
from .worker import Run, Worker

__all__ = ["Cancel", "Client", "Conflict", "Discard", "DuplicateError", "Explanation", "FailedError", "GoneError",
           "Job", "JobInput", "OnceqError", "Options", "ProblemError", "Receipt", "Run", "Snooze",
           "UnavailableError", "UncertainError", "Worker"]
