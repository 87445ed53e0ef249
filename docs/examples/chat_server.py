#!/usr/bin/env python3
"""A chat server of the simplest kind, to try a new adapter with: it pushes one signed message to the
adapter's webhook, waits for the reply, shows it, and ends. Only the standard library.

    chat_server.py WEBHOOK_URL      such as http://127.0.0.1:8787/hooks/mybot

It answers `POST /messages` on 127.0.0.1:9900, and signs with the key in SIGNING_KEY.
"""

import hashlib
import hmac
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

PORT = 9900
# A host that has just been started loads its adapter first.
PATIENCE_SECONDS = 60
# What a request may have.
BODY_BYTES_MAX = 1 << 20

replied = threading.Event()
seen = set()


class Messages(BaseHTTPRequestHandler):
    def do_POST(self):
        length = min(int(self.headers.get("content-length", "0")), BODY_BYTES_MAX)
        message = json.loads(self.rfile.read(length))
        key = self.headers.get("idempotency-key", "")
        # A repeated key is the same message: it is answered, and not shown again.
        if key not in seen:
            seen.add(key)
            print(f"bot: {message['text']}", flush=True)
        body = json.dumps({"id": f"m-{key}"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        replied.set()

    def log_message(self, *_):
        pass


def push(url: str, body: bytes) -> bool:
    code = hmac.new(os.environ["SIGNING_KEY"].encode(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(url, body, {"x-signature": code})
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return False
        sys.exit(f"the webhook answered {error.code}: {error.read().decode(errors='replace')}")
    except OSError:
        return False


def main() -> None:
    server = HTTPServer(("127.0.0.1", PORT), Messages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = {
        "id": f"q-{time.time_ns()}",
        "room": "kitchen",
        "from": {"id": "ada", "name": "Ada"},
        "text": "Tea, anybody?",
    }
    body = json.dumps(said).encode()
    deadline = time.monotonic() + PATIENCE_SECONDS
    # Pushed again until it is taken: that is what makes "accepted" mean something.
    while not push(sys.argv[1], body):
        if time.monotonic() > deadline:
            sys.exit("the webhook did not take the message")
        time.sleep(0.2)
    print(f"ada: {said['text']}", flush=True)
    if not replied.wait(max(deadline - time.monotonic(), 1)):
        sys.exit("no reply came")


if __name__ == "__main__":
    main()
