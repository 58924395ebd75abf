"""Reading events as they come, none left out: numbers are given before the commit, so that gaps may fill later."""

from collections.abc import Iterable

from mailproxy.model import Instant, Seconds

GAP_LASTS: Seconds = 60.0
MOST_GAPS = 10_000


class Tail:
    """Which events were read: all up to `after` but the missed ones, which are asked for again for a minute."""

    def __init__(self, after: int) -> None:
        self.after = after
        self._missed: dict[int, Instant] = {}

    def missed(self, now: Instant) -> list[int]:
        """What may still be committed late; a number of a transaction that failed is given up in the end."""
        self._missed = {event: since for event, since in self._missed.items() if now - since < GAP_LASTS}
        return list(self._missed)

    def take(self, events: Iterable[int], now: Instant) -> None:
        """Note that these were read."""
        for event in events:
            if event <= self.after:
                self._missed.pop(event, None)
                continue
            gap = range(max(self.after + 1, event - MOST_GAPS), event)
            self._missed.update(dict.fromkeys(gap, now))
            self.after = event
        for event in list(self._missed)[:-MOST_GAPS]:
            del self._missed[event]
