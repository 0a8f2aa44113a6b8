"""What every peer's script does for `timing.Peer`; needs nothing but Python."""

import sys
import time
from collections.abc import Callable


def serve(call: Callable[[], object], wait: Callable[[], object] | None = None) -> None:
    """Warm up, then make as many calls as each line of input says, and print their CPU seconds.

    `wait` for a GPU makes it seconds on the clock, until the GPU is done.
    """
    clock = time.process_time if wait is None else time.perf_counter
    finish = wait or (lambda: None)
    call()
    finish()
    print("ready", flush=True)
    for line in sys.stdin:
        start = clock()
        for _ in range(int(line)):
            call()
        finish()
        print("seconds", clock() - start, flush=True)
