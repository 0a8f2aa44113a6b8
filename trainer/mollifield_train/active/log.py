"""What a running loop tells the person who watches it."""

import time


def say(who: str, text: str) -> None:
    """Print one line of progress with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {who:<7} {text}", flush=True)
