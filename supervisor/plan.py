"""What should run: the roles, and which sender serves which account. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailproxy.model import Seconds
from workers.control import AccountSlot
from workers.frame import Entry


@dataclass(frozen=True, slots=True)
class Role:
    """A program that runs as one process. `overlaps`: at a reload its successor comes up before it goes."""

    name: str
    entry: Entry
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class RoleSet:
    """`sender` runs as often as accounts need it, `singles` once each."""

    sender: Entry | None
    singles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """After `silence` seconds without a heartbeat a child is killed; the API is up when it has lasted for
    `settling`; at a stop the next ones are told after `patience`, even if the ones before still drain."""

    silence: Seconds = 30.0
    settling: Seconds = 5.0
    patience: Seconds = 10.0


@dataclass(frozen=True, slots=True)
class Sender:
    """A running sender; one that is `leaving` takes nothing more but keeps what it has until it is gone."""

    number: int
    accounts: frozenset[AccountSlot]
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a sender for these accounts."""

    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Give:
    """Let sender `number` serve these as well."""

    number: int
    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Rouse:
    """Tell sender `number` that these have work."""

    number: int
    accounts: tuple[AccountSlot, ...]


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Sender `number` has given everything back."""

    number: int


Action = Fork | Give | Rouse | Dismiss


@dataclass(slots=True)
class _Home:
    sender: Sender | None
    given: list[AccountSlot] = field(default_factory=list)

    def load(self) -> int:
        return len(self.given) + (len(self.sender.accounts) if self.sender else 0)


def plan(
    wanted: Iterable[AccountSlot],
    senders: Sequence[Sender],
    max_senders: int,
    *,
    bereaved: Iterable[tuple[AccountSlot, ...]] = (),
    withheld: frozenset[AccountSlot] = frozenset(),
) -> list[Action]:
    """What to do so that every wanted account has one sender, and no more than `max_senders` processes run.

    A sender for each account while there is room; then each goes to the sender with the fewest. Accounts that
    lost their sender (`bereaved`) come first and stay together, wanted or not, because they hold unfinished
    work. `withheld` accounts get nothing now.
    """
    wanted = tuple(dict.fromkeys(wanted))
    taken = set(withheld).union(*(sender.accounts for sender in senders))
    homes = [_Home(sender) for sender in senders if sender.accounts and not sender.leaving]
    room = max_senders - len(senders)
    for group in (*bereaved, *((account,) for account in wanted)):
        free = [account for account in dict.fromkeys(group) if account not in taken]
        if not free:
            continue
        if room > 0:
            home = _Home(None)
            homes.append(home)
            room -= 1
        elif homes:
            home = min(homes, key=_Home.load)
        else:
            break
        home.given.extend(free)
        taken.update(free)
    idle = [Dismiss(sender.number) for sender in senders if not sender.accounts and not sender.leaving]
    return [*idle, *(action for home in homes for action in _actions(home, wanted))]


def _actions(home: _Home, wanted: tuple[AccountSlot, ...]) -> Iterable[Action]:
    if home.sender is None:
        yield Fork(tuple(home.given))
        return
    if home.given:
        yield Give(home.sender.number, tuple(home.given))
    if roused := tuple(account for account in wanted if account in home.sender.accounts):
        yield Rouse(home.sender.number, roused)
