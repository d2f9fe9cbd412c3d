#!/usr/bin/env python3
"""A worker and a producer for wharf's run queue, with nothing but the standard library.
client.py enqueue SOCKET ORDER [FAILS] | bulk SOCKET NAME COUNT | work SOCKET WORKER [SECONDS]"""
import http.client, json, socket, sys, threading, time

TYPE = "shop.send_invoice"
DEFINITION = {
    "label": "Send an invoice", "counts": ["total", "processed", "mails"],
    "reason_codes": ["mail.bounced"], "lease_ms": 2000,
    "retry": {"attempts_max": 3, "first_ms": 200, "factor": 2, "longest_ms": 5000},
}

class Refused(Exception):  # status, code and detail of a problem document
    pass

class Queue:
    def __init__(self, path):
        self.path = path

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("wharf")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        connection.request(method, path, json.dumps(body or {}), {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read() or "null")
        connection.close()
        if response.status >= 400:
            raise Refused(response.status, answer["code"], answer["detail"])
        return answer

    def enqueue(self, **run):
        return self.call("POST", "/v1/queue/runs", {"type": TYPE, **run})["run"]["id"]

    def work(self, worker, do, until=float("inf")):
        while time.monotonic() < until:
            claim = {"types": [TYPE], "worker": worker, "limit": 1, "wait_seconds": 2}
            for item in self.call("POST", "/v1/queue/claims", claim)["items"]:
                over, cancelled = threading.Event(), threading.Event()
                threading.Thread(target=self.keep, args=(item, over, cancelled)).start()
                try:
                    done = {"counts": do(self, item, cancelled)}
                    done["outcome"] = "cancelled" if cancelled.is_set() else "succeeded"
                    self.call("POST", item["path"] + "/complete", done)
                except Refused as refused:  # somebody took over: what we did does not count
                    print(worker, "stops:", *refused.args, file=sys.stderr)
                except Exception as error:
                    failure = {"reason_code": "mail.bounced", "message": str(error)}
                    self.call("POST", item["path"] + "/fail", failure)
                finally:
                    over.set()

    def keep(self, item, over, cancelled):
        while not over.wait(0.5):
            try:
                if self.call("POST", item["path"] + "/heartbeat")["cancel_requested"]:
                    cancelled.set()
            except (Refused, OSError):
                return

def send(queue, item, cancelled):
    order = item["payload"]
    print(item.get("job") or order["order"], "attempt", item["attempt"], flush=True)
    queue.call("POST", item["path"] + "/progress", {"log": f"sending {order['order']}"})
    if item["failures"] < order.get("fails", 0):
        raise RuntimeError("the mailbox does not exist")
    cancelled.wait(order.get("seconds", 0))
    return {"processed": 1, "mails": 0 if cancelled.is_set() else 1}

if __name__ == "__main__":
    verb, queue, name, *rest = sys.argv[1], Queue(sys.argv[2]), *sys.argv[3:]
    queue.call("PUT", f"/v1/queue/types/{TYPE}", DEFINITION)
    if verb == "enqueue":
        print(queue.enqueue(payload={"order": name, "fails": int(rest[0]) if rest else 0}, identity=name))
    elif verb == "bulk":
        jobs = [{"key": f"{name}-{n}", "payload": {"order": n}} for n in range(int(rest[0]))]
        print(queue.enqueue(identity=name, subject=name, jobs=jobs))
    else:
        queue.work(name, send, time.monotonic() + float(rest[0] if rest else "inf"))
