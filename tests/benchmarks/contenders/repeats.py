"""What every contender does: wait for its turn, work once, tell how much it did and how long that took.

Only the standard library is used, since peers run in an environment of their own.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def settings() -> dict[str, Any]:
    """What the contender is to do: the first line that comes, as JSON."""
    return json.loads(sys.stdin.readline())


def serve(work: Callable[[], float | tuple[float, float]]) -> None:
    """Work once to warm up, then once for each line that comes.

    `work` returns how many units it did, or that and how many of its seconds count.
    """
    work()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        done = work()
        print(json.dumps(done if isinstance(done, tuple) else (done, time.perf_counter() - began)), flush=True)
    os._exit(0)  # a stream that is still alive can hold up the interpreter's end for ever
