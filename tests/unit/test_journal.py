import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.model import Epoch, MessageId
from mailproxy.outcome import (
    AccountTrouble,
    Deferred,
    Outcome,
    Refusal,
    Refused,
    Reply,
    Sent,
    Stage,
    Trouble,
    Unknown,
    Withheld,
)
from workers.sender.journal import Journal, Record, orphans, read

REPLY = Reply(250, "2.0.0 Ok: queued as 4FhX", "2.0.0")
REFUSAL = Refusal(3, "no@example.org", Reply(550, "5.1.1 unknown", "5.1.1"))

replies = st.builds(
    Reply,
    st.integers(0, 999),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=128),
    st.none() | st.just("4.7.1"),
)
refusals = st.lists(st.builds(Refusal, st.integers(0, 999), st.just("a@example.org"), replies)).map(tuple)
causes = st.text(st.characters(exclude_categories=["Cs"]), max_size=128)
accepted = st.lists(st.tuples(st.integers(0, 999), st.just("b@example.org")), max_size=3).map(tuple)
outcomes = st.one_of(
    st.builds(Sent, replies, refusals, accepted),
    st.builds(Deferred, st.sampled_from(Stage), causes, st.none() | replies, refusals),
    st.builds(Refused, st.sampled_from(Stage), causes, st.none() | replies, refusals),
    st.builds(Unknown, causes),
    st.builds(
        AccountTrouble, st.sampled_from(Trouble), causes, st.none() | replies, st.booleans(), st.just(2.5)
    ),
    st.builds(Withheld, causes),
)


@given(outcomes)
def test_every_outcome_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, outcome: Outcome
) -> None:
    journal = Journal.open(tmp_path_factory.mktemp("state"), Epoch(7))
    journal.record(Record(MessageId(42), 3, 2, 4, outcome))
    assert read(journal.path) == [Record(MessageId(42), 3, 2, 4, outcome)]
    journal.close(remove=True)


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal.open(tmp_path / "journal", Epoch(1))
    yield journal
    journal.close(remove=True)


def fill(journal: Journal, count: int = 3) -> list[Record]:
    records = [Record(MessageId(n), 1, 1, 1, Sent(REPLY, (REFUSAL,))) for n in range(count)]
    for record in records:
        journal.record(record)
    return records


def test_texts_are_kept_to_512_bytes(journal: Journal) -> None:
    journal.record(Record(MessageId(1), 1, 1, 1, Sent(Reply(250, "\N{SNOWMAN}" * 512))))
    outcome = read(journal.path)[0].outcome
    assert isinstance(outcome, Sent)
    assert outcome.reply.text == "\N{SNOWMAN}" * 170


def test_a_torn_last_line_is_ignored(journal: Journal) -> None:
    records = fill(journal)
    whole = journal.path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole) - 1):
        journal.path.write_bytes(whole[:end])
        assert read(journal.path) == records[:-1]


def test_a_flipped_bit_spoils_its_line_only(journal: Journal) -> None:
    records = fill(journal)
    whole = journal.path.read_bytes()
    first_end = whole.index(b"\n")
    for position in range(first_end):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        journal.path.write_bytes(damaged)
        assert read(journal.path) == records[1:]


def test_truncating_forgets_and_writing_goes_on(journal: Journal) -> None:
    fill(journal)
    journal.truncate()
    assert read(journal.path) == []
    assert fill(journal, 1) == read(journal.path)


def test_a_living_writers_journal_is_readable_but_no_orphan(journal: Journal) -> None:
    records = fill(journal)
    assert list(orphans(journal.path.parent)) == []
    assert read(journal.path) == records


def test_an_epoch_has_one_journal(journal: Journal) -> None:
    with pytest.raises(FileExistsError):
        Journal.open(journal.path.parent, Epoch(1))
    assert [path.name for path in journal.path.parent.iterdir()] == ["1.log"]


def test_no_directory_no_orphans(tmp_path: Path) -> None:
    assert list(orphans(tmp_path / "none")) == []
    assert read(tmp_path / "none" / "1.log") == []


KILLED = """
import os, signal, sys
from pathlib import Path
from mailproxy.model import Epoch, MessageId
from mailproxy.outcome import Reply, Sent
from workers.sender.journal import Journal, Record
journal = Journal.open(Path(sys.argv[1]), Epoch(int(sys.argv[2])))
for n in range(100):
    journal.record(Record(MessageId(n), 1, 1, 1, Sent(Reply(250, "ok"))))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_a_complete_orphan(tmp_path: Path) -> None:
    for epoch in ("12", "9"):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), epoch], check=False)
    found = list(orphans(tmp_path))
    assert [epoch for epoch, _ in found] == [9, 12]
    assert [record.message for record in read(found[0][1])] == list(range(100))


FULL = """
import resource, sys
from pathlib import Path
from mailproxy.model import Epoch, MessageId
from mailproxy.outcome import Reply, Sent
from workers.sender.journal import Journal, Record
journal = Journal.open(Path(sys.argv[1]), Epoch(1))
sent = Sent(Reply(250, "x" * 100))
journal.record(Record(MessageId(1), 1, 1, 1, sent))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
for n in (2, 3):
    try:
        journal.record(Record(MessageId(n), 1, 1, 1, sent))
    except OSError as error:
        print(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.record(Record(MessageId(4), 1, 1, 1, sent))
"""


def test_a_full_disk_raises_and_spoils_nothing_after_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(errno.ENOSPC), str(errno.EFBIG)]
    assert [record.message for record in read(tmp_path / "1.log")] == [1, 4]


def test_a_closed_journal_writes_into_no_file_that_was_opened_since(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, Epoch(1))
    journal.close(remove=False)
    with (tmp_path / "another").open("wb") as another:
        with pytest.raises(OSError, match="Bad file descriptor"):
            journal.record(Record(MessageId(1), 0, 1, 1, Sent(REPLY)))
        journal.close(remove=True)
        another.write(b"fine")
    assert (tmp_path / "another").read_bytes() == b"fine"
    assert journal.path.exists()
