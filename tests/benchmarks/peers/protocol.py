"""The other end of `worker.Worker`: requests in, one JSON object per line; answers out. Standard library only."""

import json
import os
import sys


def serve(handlers):
    """Answers requests until the input ends: {"request": NAME, ...} calls `handlers[NAME](...)`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    for line in sys.stdin:
        values = json.loads(line)
        answer = handlers[values.pop("request")](**values)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
