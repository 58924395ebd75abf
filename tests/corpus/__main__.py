"""Holds our bounce parser against flufl.bounce on the samples of its source distribution.

    python -m tests.corpus          fetches them with pip once, compares, and ends with 1 where we know less

Neither the samples nor the package become a part of this project: they stay in `.corpus/`, which git ignores.
"""

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

from mailproxy.bounces import Kind, Report, parse

PLACE = Path(__file__).parents[2] / ".corpus"
SOURCE = "flufl.bounce==6.0.0 --hash=sha256:a1df16b9d1877ae4536f7d76c00d8421fcefbe694f80f5285d05c45a2547b1bc"
NEEDED = "atpublic>=5"
EXPLAINED: dict[str, str] = {}
"""Samples of which we say something else, each with the reason why ours is the better reading."""


@dataclass(frozen=True, slots=True)
class Compared:
    name: str
    theirs: frozenset[str]
    is_warning: bool
    ours: Report

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(each.address.lower() for each in self.ours.recipients)

    @property
    def is_recognised(self) -> bool:
        return self.ours.kind in (Kind.BOUNCE, Kind.DELAY)

    @property
    def agrees(self) -> bool:
        expected = Kind.DELAY if self.is_warning else Kind.BOUNCE
        return self.addresses == self.theirs and self.ours.kind is expected


def fetch() -> Path:
    """The unpacked source distribution; downloaded when it is not there yet."""
    unpacked = PLACE / "flufl_bounce-6.0.0"
    if not unpacked.exists():
        PLACE.mkdir(exist_ok=True)
        wanted = PLACE / "requirements.txt"
        wanted.write_text(SOURCE + "\n")
        _pip(
            "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", PLACE, "-r", wanted
        )
        _pip("install", "--no-deps", "--target", PLACE / "lib", NEEDED)
        with tarfile.open(PLACE / "flufl_bounce-6.0.0.tar.gz") as archive:
            archive.extractall(PLACE, filter="data")
    return unpacked


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)]
    subprocess.run(command, check=True)


def compare(unpacked: Path) -> Iterator[Compared]:
    sys.path[:0] = [str(unpacked / "src"), str(PLACE / "lib")]
    from flufl.bounce import all_failures  # noqa: PLC0415 it is only there after the download

    for sample in sorted((unpacked / "tests" / "data").glob("*.txt")):
        raw = sample.read_bytes()
        temporary, permanent = all_failures(message_from_bytes(raw))
        theirs = frozenset(each.decode("latin-1").lower() for each in temporary | permanent)
        yield Compared(sample.name, theirs, bool(temporary) and not permanent, parse(raw))


def main() -> int:
    compared = list(compare(fetch()))
    recognised = [each for each in compared if each.theirs]
    missed = [each for each in recognised if not each.is_recognised]
    differing = [each for each in recognised if each.is_recognised and not each.agrees]
    for each in differing + missed:
        told = f"{each.ours.kind} {sorted(each.addresses)}"
        print(f"{each.name}: {sorted(each.theirs)} against {told}: {EXPLAINED.get(each.name, 'UNEXPLAINED')}")
    for each in compared:
        if not each.theirs and each.ours.kind is not Kind.NONE:
            print(f"{each.name}: only ours: {each.ours.kind} {sorted(each.addresses)}")
    print(
        f"{len(compared)} samples, {len(recognised)} recognised by flufl.bounce; of these ours recognises"
        f" {len(recognised) - len(missed)}, {len(recognised) - len(missed) - len(differing)} with the same"
        f" addresses and kind; {len(differing)} differ, {len(missed)} missed"
    )
    return 1 if any(each.name not in EXPLAINED for each in differing + missed) else 0


if __name__ == "__main__":
    sys.exit(main())
