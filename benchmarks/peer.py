"""What every peer's script does for `timing.Peer`; needs nothing but Python."""

import sys
import time
from collections.abc import Callable


def serve(call: Callable[[], object]) -> None:
    """Warm up, then make as many calls as each line of input says, and print their CPU seconds."""
    call()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.process_time()
        for _ in range(int(line)):
            call()
        print("seconds", time.process_time() - start, flush=True)
