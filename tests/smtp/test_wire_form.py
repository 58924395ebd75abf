"""What goes over the wire as a body, for any bytes at all."""

from hypothesis import given
from hypothesis import strategies as st

from workers.sender.session import wire_form

awkward = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n"]), max_size=30).map(b"".join)


@given(awkward)
def test_only_whole_line_ends_leave_and_the_last_line_is_ended(data: bytes) -> None:
    body = wire_form(data)
    assert body.endswith(b"\r\n")
    assert body.count(b"\r") == body.count(b"\n") == body.count(b"\r\n")


@given(awkward)
def test_no_line_is_a_single_dot_and_unstuffing_gives_the_lines_back(data: bytes) -> None:
    lines = wire_form(data).split(b"\r\n")[:-1]
    assert b"." not in lines
    unstuffed = [line.removeprefix(b".") for line in lines]
    meant = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")
    assert unstuffed == meant
