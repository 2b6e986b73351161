"""What we sign is verified by the published libraries of two makers, before and after a rotation of the secret.

A receiver of this machine is made an endpoint of BOTPRIMEX_URL under BOTPRIMEX_KEY, tests are sent to it, and each is
verified with `standardwebhooks` and with `svix`. Ends with 0 only if every signature that is good was accepted and
every one that is not was refused.
"""

import json
import os
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue

import standardwebhooks
import svix.webhooks

URL, KEY = os.environ["BOTPRIMEX_URL"], os.environ["BOTPRIMEX_KEY"]
received = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def ask(method, path, body):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), method=method)
    request.add_header("authorization", "Bearer " + KEY)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def refused(verify):
    try:
        verify()
    except (standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError):
        return True
    return False


def check(secret, headers, body):
    for library in (standardwebhooks.Webhook, svix.webhooks.Webhook):
        event = library(secret).verify(body, headers)
        event = json.loads(body) if event is None else event
        assert event["id"] == headers["webhook-id"], event
        assert refused(lambda: library(secret).verify(body + b" ", headers)), library
        later = dict(headers, **{"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)})
        assert refused(lambda: library(secret).verify(body, later)), library


server = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = ask("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{server.server_port}/hook"})
test = f"/v1/webhooks/{endpoint['id']}/test"

assert ask("POST", test, {})["status"] == "delivered"
headers, body = received.get(timeout=20)
check(endpoint["secret"], headers, body)

rotated = ask("POST", f"/v1/webhooks/{endpoint['id']}/rotate-secret", {})
assert rotated["secret"] != endpoint["secret"]
for library in (standardwebhooks.Webhook, svix.webhooks.Webhook):
    assert refused(lambda: library(rotated["secret"]).verify(body, headers)), "signed before it was there"
assert ask("POST", test, {})["status"] == "delivered"
headers, body = received.get(timeout=20)
check(endpoint["secret"], headers, body)
check(rotated["secret"], headers, body)
assert len(headers["webhook-signature"].split()) == 2
print("python: standardwebhooks and svix verify what is signed, with both secrets after a rotation")
