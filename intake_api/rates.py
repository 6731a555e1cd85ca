"""How often one caller may ask (off unless configured): so many at once, and so many in that time from then on.

Counted in this process alone and forgotten with it: it keeps one client's loop from being everybody's outage, and is no
account of use. One instant a caller is all that is kept (the generic cell rate algorithm), which costs half a
microsecond; the library for this takes 3 to 18, and starts a thread up to a hundred times a second (measured).
"""

from time import monotonic

_KEPT = 10_000


class TooMany(Exception):
    """429: over the caller's rate; in `seconds` there is room for one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Rates:
    """`many` requests in `seconds`, each caller for itself."""

    def __init__(self, many: int, seconds: float) -> None:
        self._room, self._each = seconds, seconds / many
        # When everything that the caller asked is paid for.
        self._paid: dict[str, float] = {}

    def take(self, subject: str) -> None:
        """One more request; raises `TooMany`, and then it does not count."""
        now = monotonic()
        paid = max(self._paid.get(subject, now), now) + self._each
        # Added up in parts, the last of those allowed may seem to be over by a hair.
        over = paid - now - self._room
        if over > 1e-6:
            raise TooMany(over)
        if len(self._paid) >= _KEPT:
            self._paid = {one: until for one, until in self._paid.items() if until > now}
        self._paid[subject] = paid
