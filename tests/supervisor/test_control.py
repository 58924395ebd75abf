import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.model import AccountPk
from workers.control import (
    Assign,
    Beat,
    Channel,
    Idle,
    Message,
    Ready,
    Reaped,
    Wake,
    Wanted,
    decode,
    encode,
)

_SOME = ((AccountPk(7), 0), (AccountPk(8), 1))
_MESSAGES: list[Message] = [
    Ready(),
    Beat(),
    Wanted(_SOME),
    Wanted(()),
    Idle(_SOME),
    Assign(_SOME),
    Wake(_SOME),
    Reaped(("node/sender.0#1a2b3c4d",)),
]


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


@pytest.mark.parametrize("message", _MESSAGES, ids=repr)
def test_what_is_said_is_understood(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(st.binary())
def test_nonsense_is_an_error_of_one_kind(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


@pytest.mark.parametrize(
    "line", [b"[]", b'{"type":[]}', b'{"type":"wanted","accounts":[[1]]}', b'{"type":"reaped"}']
)
def test_a_message_of_another_shape_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_messages_arrive_whole_however_they_are_cut(ends: tuple[Channel, socket.socket]) -> None:
    channel, child = ends
    heard: list[Message] = []
    for byte in b"".join(map(encode, _MESSAGES)):
        child.send(bytes([byte]))
        messages, is_open = channel.receive()
        heard += messages
        assert is_open
    assert heard == _MESSAGES


def test_last_words_are_heard_after_the_end(ends: tuple[Channel, socket.socket]) -> None:
    channel, child = ends
    child.send(encode(Idle(_SOME)))
    child.close()
    assert channel.receive() == ([Idle(_SOME)], False)
    assert channel.receive() == ([], False)


def test_a_garbled_line_loses_only_itself(ends: tuple[Channel, socket.socket]) -> None:
    channel, child = ends
    child.send(b"garbage\n" + encode(Ready()))
    assert channel.receive() == ([Ready()], True)
    assert channel.garbled == 1


def test_a_child_that_does_not_listen_misses_hints_but_no_assignment(
    ends: tuple[Channel, socket.socket],
) -> None:
    channel, child = ends
    said = 0
    while not channel.pending:
        channel.send(Assign(_SOME))
        said += 1
    channel.send(Wake(_SOME))
    channel.send(Assign(_SOME))
    said += 1
    child.setblocking(False)
    heard = b""
    while channel.pending:
        heard += child.recv(1 << 16)
        channel.flush()
    heard += child.recv(1 << 20)
    assert [decode(line) for line in heard.splitlines()] == [Assign(_SOME)] * said


def test_words_to_a_dead_child_are_forgotten(ends: tuple[Channel, socket.socket]) -> None:
    channel, child = ends
    child.close()
    channel.send(Assign(_SOME))
    assert not channel.pending
