"""Feeds octets that a coverage-guided fuzzer thinks of to the parsers of received mail.

python -m tests.fuzz [-max_total_time=600] [DIRECTORY]     libFuzzer's options; needs `pip install atheris`
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mailproxy"]):
    from mailproxy import bounces, pec

from tests.bounces.test_hostile import SEEDS
from tests.bounces.test_hostile import check as check_report


def one(octets: bytes) -> None:
    check_report(bounces.parse(octets))
    pec.parse(octets)


def main() -> None:
    with tempfile.TemporaryDirectory() as seeds:
        for number, seed in enumerate(SEEDS):
            (Path(seeds) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, seeds], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
