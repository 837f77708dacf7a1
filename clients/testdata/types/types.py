"""A program of a user: each line that says WRONG is one that types refuse."""

from datetime import timedelta

import onceq

client = onceq.Client("http://127.0.0.1:8080", token="t", timeout=5)
receipt = client.enqueue("mail", {"to": "ada"}, unique=True, window=timedelta(minutes=5), on_conflict="coalesce")
client.enqueue("mail", windoww="5m")  # WRONG
client.enqueue("mail", priority="high")  # WRONG
client.enqueue("mail", until="finish")  # WRONG
print(receipt["outcome"], receipt["job"]["id"], receipt["job"].get("run_at"))
print(receipt["outcom"])  # WRONG
print(receipt["conflict"]["holder"])  # WRONG: there may be none
if receipt["conflict"] is not None:
    print(receipt["conflict"]["holder"].upper())
client.enqueue_many([{"kind": "mail", "args": 1, "tags": ["x"]}, {"kind": "mail"}])
client.enqueue_many([{"args": 1}])  # WRONG
job: onceq.Job = client.wait(receipt, timeout=10)
client.wait(receipt["job"])  # WRONG
explanation: onceq.Explanation = client.explain("mail", {"to": "ada"}, unique=True)
print(explanation.get("hint", ""))


def send(run: onceq.Run) -> dict[str, int]:
    run.stop.wait(run.job.get("timeout_ms", 0) / 1000)
    return {"sent": 1}


def short() -> None:
    pass


onceq.Worker(client, {"mail": send}, queues={"default": 4}, grace=10).run()
onceq.Worker(client, {"mail": short})  # WRONG
