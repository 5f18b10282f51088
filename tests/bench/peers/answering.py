"""How the programs here talk to `morph bench`: one JSON line when ready, then one per line "go" on stdin."""
import json
import os
import sys


def take_stdout():
    """The real stdout, for answers alone: what libraries print goes to stderr from here on."""
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return reply


def serve(reply, measure):
    print(json.dumps({"ready": True}), file=reply, flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            print(json.dumps(measure()), file=reply, flush=True)
