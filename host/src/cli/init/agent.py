"""A sample agent for Lastword.

It is started once for each turn. Standard input carries one line of JSON: the message, what was
said since the last turn, and what earlier tries already delivered. Each line of standard output is
one event; the `final` one is the reply. Standard error may hold what people wrote, so the log shows
it only where it is asked for: `LASTWORD_LOG=info,agent=debug lastword run`.
"""

import json
import sys


def say(kind, text):
    print(json.dumps({"type": kind, "text": text, "format": "plain"}), flush=True)


def main():
    document = json.loads(sys.stdin.readline())
    message = document["message"]
    sender = message["sender"].get("display_name") or message["sender"]["id"]
    # Your model goes here. Events that may come before the final reply:
    # {"type": "tool", "text": ...}, {"type": "block", "text": ...}, {"type": "heartbeat"}.
    # {"type": "silent"} ends the turn without a reply.
    say("final", f"Hello {sender}, you said: {message['text']}")


if __name__ == "__main__":
    main()
