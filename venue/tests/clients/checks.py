"""What every client's proof shares: where the venue is, and checks that say what they saw."""

import os

URL = os.environ["BOTPRIMEX_VENUE_URL"]
STREAM = URL.replace("http://", "ws://", 1)
KEY = os.environ["BOTPRIMEX_VENUE_KEY"]
SECRET = os.environ["BOTPRIMEX_VENUE_SECRET"]


def check(claim, holds, seen):
    """Prints a claim that holds; ends the proof at one that does not."""
    if not holds:
        raise SystemExit(f"FAILED {claim}: {seen!r}")
    print(f"ok {claim}")
