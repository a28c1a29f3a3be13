"""Lines for the person at the terminal. All go to stderr, so that stdout stays for answers."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(message: str) -> None:
    """One line of progress."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say the title with the seconds that the block took."""
    start = time.monotonic()
    yield
    say(f"  {title} ({time.monotonic() - start:.1f} s)")


@contextmanager
def ticking(title: str, every: float = 15.0) -> Iterator[None]:
    """Say the title now, how long it has been going every few seconds, and the total at the end."""
    start = time.monotonic()
    done = threading.Event()
    say(f"  {title} …")
    ticker = threading.Thread(target=_tick, args=(title, start, every, done), daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    say(f"  {title}: done in {time.monotonic() - start:.0f} s")


def _tick(title: str, start: float, every: float, done: threading.Event) -> None:
    while not done.wait(every):
        say(f"  {title}: {time.monotonic() - start:.0f} s so far …")
