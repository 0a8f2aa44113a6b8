"""What a running loop tells the person who watches it."""

import sys
import time


def say(who: str, text: str) -> None:
    """Print one line of progress with the time of day."""
    # On a terminal the line takes the place of a bar (`live`), which comes again below it.
    start = "\r\x1b[K" if sys.stdout.isatty() else ""
    print(f"{start}{time.strftime('%H:%M:%S')}  {who:<7} {text}", flush=True)
