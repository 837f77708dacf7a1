# A worker of onceq serve, with nothing but Python's standard library.
import json, os, threading, time, urllib.request
URL, TOKEN = os.environ.get("ONCEQ_URL", "http://127.0.0.1:8080"), os.environ.get("ONCEQ_TOKEN", "")
def call(path, body):
    head = {"Content-Type": "application/json", "Authorization": "Bearer " + TOKEN}
    request = urllib.request.Request(URL + "/api/v1" + path, json.dumps(body).encode(), head)
    with urllib.request.urlopen(request, timeout=40) as answer: return json.load(answer)
def work(job):  # yours: an exception means that it failed, and is tried again
    if job["kind"] == "fail": raise ValueError("as it was asked to")
    print(job["kind"], job["args"], flush=True)
me = call("/workers", {"name": "py", "queues": {"default": 1}, "about": {"lang": "python"}})
now, no = {"fetches_done": 0, "runs": []}, 0  # what is in hand: replaced whole, never changed
def beat():
    while True:
        time.sleep(me["beat_ms"] / 1000)
        try: call("/extend", {"worker": me["worker"], **now})
        except OSError as e: print("extend:", e, flush=True)
threading.Thread(target=beat, daemon=True).start()
while True:
    no += 1  # also after an error
    try: jobs = call("/fetch", {"worker": me["worker"], "no": no, "queues": {"default": 1}})["jobs"]
    except OSError as e: print("fetch:", e, flush=True); time.sleep(1); continue
    now = {"fetches_done": no, "runs": [{"id": j["id"], "run": j["run"]} for j in jobs]}
    for job in jobs:
        result = {"worker": me["worker"], "run": job["run"], "outcome": "completed"}
        try: work(job)
        except Exception as e: result.update(outcome="failed", error=repr(e))
        try: call("/jobs/%s/finish" % urllib.request.quote(job["id"], ""), result)
        except OSError as e: print("finish:", e, flush=True)  # 409: it is no longer ours, and runs elsewhere
    now = {"fetches_done": no, "runs": []}
