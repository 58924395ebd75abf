"""The Python prompt, on a real server."""

import contextlib
import os
import pty

from mailproxy.cli.home import Instance
from tests.cli.conftest import CommandLine
from tests.cli.test_remote import elsewhere, there

__all__ = ["elsewhere", "there"]

SESSION = b"""\
tenant = new_tenant("typed", name="Typed")
tenant.name
new_account("main", "127.0.0.1", 9).port
shown = new_message({"from": "a@example.com"}, to="b@example.com", subject="Hi", body="x", id="m1")
shown.id, shown.account_id
[one.id for one in proxy.messages.list("typed")]
new_message()
proxy.tenants.delete("typed")
proxy.tenants.get("typed")
"""


def test_things_are_added_and_looked_at(there: tuple[str, ...], mail_proxy: CommandLine) -> None:
    done = mail_proxy.process(*there, "connect", input=SESSION)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "API key, shown only this once: mp_" in said
    for expected in ("'Typed'", "9\n", "('m1', 'main')", "['m1']"):
        assert expected in said
    errors = done.stderr.decode()
    assert "new_tenant(), new_account(), new_message()" in errors
    assert "From is missing, and there is no terminal to ask for it" in errors
    assert "NotFound: Tenant 'typed' not found (404 tenant_not_found" in errors
    assert "far-away" not in said + errors


def test_what_is_missing_is_asked_for(there: tuple[str, ...], mail_proxy: CommandLine) -> None:
    ours, theirs = pty.openpty()
    process = mail_proxy.spawn(*there, "connect", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        shown = _typed(ours)
        assert process.wait(30) == 0
    finally:
        os.close(ours)
        process.kill()
    assert "'askedasked'" in shown


def _typed(terminal: int) -> str:
    shown = ""
    for prompt, typed in (
        (">>> ", "new_tenant().id * 2\n"),
        ("ID: ", "asked\n"),
        (">>> ", "proxy.tenants.delete('asked')\n"),
        (">>> ", "\x04"),
    ):
        read = ""
        while not read.endswith(prompt):
            read += os.read(terminal, 65536).decode()
        shown += read
        os.write(terminal, typed.encode())
    with contextlib.suppress(OSError):  # what Linux says at the end of a terminal
        while more := os.read(terminal, 65536).decode():
            shown += more
    return shown


def test_a_server_that_does_not_run_has_no_prompt(first: Instance, mail_proxy: CommandLine) -> None:
    result = mail_proxy("first", "connect")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "mail-proxy start first -b" in result.stderr


def test_a_server_that_does_not_answer_ends_with_6(mail_proxy: CommandLine) -> None:
    assert mail_proxy("--url", "http://127.0.0.1:1", "connect").exit_code == 6
