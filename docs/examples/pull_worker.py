#!/usr/bin/env python3
"""A worker that fetches turns from Lastword and answers them. Python 3.9 or newer, no packages.

    [handler]
    kind = "pull"

    python3 pull_worker.py --lock data/host.lock

The host may be stopped, killed and started again at any time: the worker keeps its turn, goes on
with its work, and hands the answer in when the host is back. Three things make that safe:

  * A claim is repeated under the same `idempotency-key` until its answer has come: the host then
    gives the same turn again, not a second one.
  * While the work lasts, a thread of its own renews the lease, and says when the turn was stopped.
  * The answer is sent again, byte for byte, until the host has said what became of it. The second
    one changes nothing and is told what the first one was.

Replace `answer` with your agent. To use this file as a library:

    from pull_worker import Worker
    Worker(lock="data/host.lock").run(answer)
"""

import argparse
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
import uuid


def answer(turn):
    """Your agent: gets the turn's document, gives the text of the reply, or None for silence."""
    turn.say("tool", "reading the message")
    return "You said: " + turn.document["message"]["text"]


class Gone(Exception):
    """The turn is not ours any more: it was stopped, or its lease ran out."""


class Refused(Exception):
    """The host does not want this request, and will not want it the next time either."""


class Turn:
    """A turn that this worker holds."""

    def __init__(self, host, document):
        self.host = host
        self.document = document
        self.id = document["turn"]["id"]
        self.lost = threading.Event()
        self.why = None
        self._done = threading.Event()
        self._beats = threading.Thread(target=self._keep, daemon=True)
        self._beats.start()

    def say(self, kind, text):
        """Progress: `tool` or `block`. Under a key, so that it is said once."""
        event = {"type": kind, "text": text}
        self._post("events", {"events": [event]}, key=uuid.uuid4().hex)

    def end(self, event):
        """The last word: `final`, `silent` or `fail`."""
        self._post("complete", event)
        self._done.set()

    def close(self):
        self._done.set()
        self._beats.join()

    def check(self):
        """Raises where the turn is lost: call it now and then in long work."""
        if self.lost.is_set():
            raise Gone(self.why)

    def _post(self, what, body, key=None):
        self.check()
        headers = {"lastword-token": self.document["token"]}
        if key:
            headers["idempotency-key"] = key
        try:
            self.host.post(f"/v1/turns/{self.id}/{what}", body, headers)
        except Gone as gone:
            self._lose(gone)
            raise

    def _lose(self, why):
        self.why = str(why)
        self.lost.set()

    def _keep(self):
        """Renews the lease three times in its length: two renewals may fail."""
        every = self.document["lease_ms"] / 3000
        while not self._done.wait(every):
            headers = {"lastword-token": self.document["token"]}
            try:
                self.host.post(f"/v1/turns/{self.id}/heartbeat", {}, headers, give_up=self._done)
            except (Gone, Refused) as why:
                if not self._done.is_set():
                    self._lose(why)
                return


class Host:
    """Speaks to the host, and outlives it."""

    def __init__(self, url=None, token=None, lock=None):
        self.url, self.token, self.lock = url, token, lock

    def post(self, path, body, headers=None, wait_s=0, give_up=None):
        """One request, repeated until it is answered. None where the answer is empty (204)."""
        bytes_ = json.dumps(body).encode()
        pause = 0.1
        while True:
            try:
                status, reply = self._once(path, bytes_, headers or {}, wait_s)
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                status, reply = 0, b""
            if status == 200:
                return json.loads(reply)
            if status == 204:
                return None
            if status not in (0, 401, 408, 429) and status < 500:
                error = json.loads(reply)["error"]
                kind = Gone if status in (404, 409) else Refused
                raise kind(f"{error['code']}: {error['sentence']}")
            # Down, starting, stopping or full. A 401 too: a host that just started may have
            # another token, which stands in its lock file.
            if give_up is not None and give_up.wait(pause):
                return None
            if give_up is None:
                time.sleep(pause)
            pause = min(pause * 2, 2)

    def _once(self, path, body, headers, wait_s):
        url, token = self._place()
        address = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = kind(address.hostname, address.port, timeout=wait_s + 15)
        try:
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
            connection.request("POST", address.path.rstrip("/") + path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def _place(self):
        if self.lock:
            # Read anew each time: the next start may have another port and another token.
            with open(self.lock, encoding="utf-8") as file:
                facts = json.load(file)
            return facts["address"], self.token or facts["token"]
        return self.url, self.token


class Worker:
    def __init__(self, name=None, channels=None, wait_ms=25_000, lease_ms=60_000, **where):
        self.host = Host(**where)
        self.ask = {"worker": name or f"worker-{os.getpid()}", "wait_ms": wait_ms, "lease_ms": lease_ms}
        if channels:
            self.ask["channels"] = channels

    def claim(self):
        """Waits for a turn; None where none came in time."""
        key = {"idempotency-key": uuid.uuid4().hex}
        wait_s = self.ask["wait_ms"] / 1000
        document = self.host.post("/v1/turns/claim", self.ask, key, wait_s)
        return document and Turn(self.host, document)

    def serve(self, turn, answer):
        try:
            try:
                text = answer(turn)
                event = {"type": "final", "text": text} if text else {"type": "silent"}
            except Gone:
                raise
            except Exception as error:  # Whatever the agent met: the host tries the turn again.
                event = {"type": "fail", "reason": f"{type(error).__name__}: {error}"}
            try:
                turn.end(event)
            except Refused as why:  # Such as a reply over the limits: no try will do better.
                turn.end({"type": "fail", "reason": str(why), "retry": False})
        except Gone as gone:
            print(f"{turn.id} dropped: {gone}", file=sys.stderr)
        finally:
            turn.close()

    def run(self, answer):
        while True:
            turn = self.claim()
            if turn:
                self.serve(turn, answer)


def main():
    words = argparse.ArgumentParser(description="Answers turns that it fetches from Lastword.")
    words.add_argument("--url", default=os.environ.get("LASTWORD_URL", "http://127.0.0.1:8787"))
    words.add_argument("--lock", help="the host's lock file, for its address and its token")
    words.add_argument("--name", help="as `lastword status` shows it")
    words.add_argument("--channel", action="append", help="serve this one alone; may be repeated")
    given = words.parse_args()
    token = os.environ.get("LASTWORD_TOKEN")
    worker = Worker(given.name, given.channel, url=given.url, token=token, lock=given.lock)
    try:
        worker.run(answer)
    except (Refused, Gone) as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
