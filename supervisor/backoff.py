"""How long a place stays empty after its process ended. Pure."""

from dataclasses import dataclass

from mailproxy.model import Seconds

FIRST: Seconds = 0.5
LONGEST: Seconds = 60.0
BIRTHS_FADE: Seconds = 60.0
RESTARTS_FADE: Seconds = 10.0
FREE_RESTARTS = 8


@dataclass(frozen=True, slots=True)
class History:
    """What happened at a place, halved with every `…_FADE` seconds that a process lived there."""

    births_failed: float = 0.0
    restarts: float = 0.0


def after_death(history: History, *, lived: Seconds, at_birth: bool) -> tuple[History, Seconds]:
    """The history with one death more, and the seconds to wait before the next birth.

    A death at birth doubles the wait. One that comes later is answered at once, but for a burst of them:
    a process that comes up and falls over for ever is slowed down to one birth every `FIRST` seconds.
    """
    failed = history.births_failed * 0.5 ** (lived / BIRTHS_FADE)
    restarts = history.restarts * 0.5 ** (lived / RESTARTS_FADE)
    if at_birth:
        wait = min(LONGEST, FIRST * 2.0 ** min(failed, 60.0))
        return History(failed + 1, restarts), wait
    return History(failed, restarts + 1), FIRST if restarts >= FREE_RESTARTS else 0.0
