"""Runs a real homeserver (Synapse) on loopback for as long as stdin is open.

Usage: homeserver.py FOLDER raised|defaults

FOLDER gets config, keys and database. `raised` lifts the limits on messages and logins out of the
way; `defaults` leaves them as Synapse ships them. Prints one line of JSON when it serves:
{"url", "server_name", "users": {NAME: {"user_id", "password", "access_token", "device_id"}}}.
"""

import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SERVER_NAME = "lastword.test"
USERS = ["bot", "person", "other"]
READY_WITHIN_SECONDS = 90

CONFIG = """
server_name: "{server_name}"
pid_file: "{folder}/homeserver.pid"
listeners:
  - port: {port}
    type: http
    tls: false
    bind_addresses: ["127.0.0.1"]
    resources:
      - names: [client]
database:
  name: sqlite3
  args:
    database: "{folder}/homeserver.db"
log_config: "{folder}/log.yaml"
media_store_path: "{folder}/media"
signing_key_path: "{folder}/signing.key"
registration_shared_secret: "{secret}"
macaroon_secret_key: "{secret}"
form_secret: "{secret}"
report_stats: false
trusted_key_servers: []
federation_domain_whitelist: []
"""

RAISED = """
rc_message: {per_second: 10000, burst_count: 10000}
rc_login:
  address: {per_second: 10000, burst_count: 10000}
  account: {per_second: 10000, burst_count: 10000}
  failed_attempts: {per_second: 10000, burst_count: 10000}
rc_registration: {per_second: 10000, burst_count: 10000}
rc_joins:
  local: {per_second: 10000, burst_count: 10000}
rc_invites:
  per_room: {per_second: 10000, burst_count: 10000}
  per_user: {per_second: 10000, burst_count: 10000}
  per_issuer: {per_second: 10000, burst_count: 10000}
"""

LOG = """
version: 1
formatters:
  plain: {{format: "%(asctime)s %(levelname)s %(name)s %(message)s"}}
handlers:
  file: {{class: logging.FileHandler, filename: "{folder}/homeserver.log", formatter: plain}}
root: {{level: INFO, handlers: [file]}}
disable_existing_loggers: false
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def call(url, document=None):
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def register(url, secret, name):
    """The shared secret registration of Synapse's admin API."""
    api = f"{url}/_synapse/admin/v1/register"
    nonce, password = call(api)["nonce"], secrets.token_hex(16)
    fields = [nonce, name, password, "notadmin"]
    mac = hmac.new(secret.encode(), b"\0".join(f.encode() for f in fields), hashlib.sha1)
    document = {"nonce": nonce, "username": name, "password": password, "admin": False}
    answer = call(api, {**document, "mac": mac.hexdigest()})
    wanted = ("user_id", "access_token", "device_id")
    return {"password": password, **{field: answer[field] for field in wanted}}


def prepare(folder, limits):
    port, secret = free_port(), secrets.token_hex(16)
    config = CONFIG.format(server_name=SERVER_NAME, folder=folder, port=port, secret=secret)
    if limits == "raised":
        config += RAISED
    (folder / "homeserver.yaml").write_text(config)
    (folder / "log.yaml").write_text(LOG.format(folder=folder))
    return f"http://127.0.0.1:{port}", secret


def synapse(folder, *arguments):
    config = str(folder / "homeserver.yaml")
    return [sys.executable, "-m", "synapse.app.homeserver", "-c", config, *arguments]


def wait_ready(url, server):
    ends = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < ends:
        if server.poll() is not None:
            sys.exit(f"the homeserver ended with {server.returncode} before it served")
        try:
            return call(f"{url}/_matrix/client/versions")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit(f"the homeserver does not serve within {READY_WITHIN_SECONDS} s")


def main():
    folder, limits = Path(sys.argv[1]).resolve(), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    url, secret = prepare(folder, limits)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr}
    subprocess.run(synapse(folder, "--generate-keys"), check=True, **quiet)
    server = subprocess.Popen(synapse(folder), **quiet)
    # Whoever ends this script ends the homeserver too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wait_ready(url, server)
        users = {name: register(url, secret, name) for name in USERS}
        print(json.dumps({"url": url, "server_name": SERVER_NAME, "users": users}), flush=True)
        # Until the test closes its end, also where it was killed.
        while os.read(0, 4096):
            pass
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
