import json
import os
from pathlib import Path

import pytest

from tests.bounces.test_answers import disposition, feedback
from tests.bounces.test_delivery_status import GROUP, report
from tests.cli.conftest import CommandLine


def test_each_file_gives_one_json_object_a_line(mail_proxy: CommandLine, tmp_path: Path) -> None:
    mails = {
        "bounce.eml": report(GROUP),
        "complaint.eml": feedback("abuse"),
        "receipt.eml": disposition("manual-action/MDN-sent-manually; displayed"),
        "nothing.eml": b"",
        "noise.bin": os.urandom(5000),
    }
    for name, octets in mails.items():
        (tmp_path / name).write_bytes(octets)
    said = mail_proxy.ok("bounces", "parse", "--json", *(tmp_path / name for name in mails))
    found = [json.loads(line) for line in said.splitlines()]
    assert [Path(each["file"]).name for each in found] == list(mails)
    assert [each["kind"] for each in found] == ["bounce", "complaint", "auto-reply", "none", "none"]
    assert found[0] == {
        "file": str(tmp_path / "bounce.eml"),
        "kind": "bounce",
        "recipients": [
            {
                "address": "bob@example.org",
                "action": "failed",
                "status": "5.1.1",
                "type": "hard",
                "smtp_code": 550,
                "reason": "550 5.1.1 <bob@example.org>: User unknown",
            }
        ],
        "original_id": "invoice-17",
        "original_message_id": "<7f@example.com>",
    }


def test_people_read_a_table(mail_proxy: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bounce.eml").write_bytes(report(GROUP))
    (tmp_path / "empty.eml").write_bytes(b"")
    said = mail_proxy.ok("bounces", "parse", tmp_path / "bounce.eml", tmp_path / "empty.eml")
    head, bounce, empty = said.splitlines()
    assert head.split()[:3] == ["FILE", "KIND", "ADDRESS"]
    assert "bob@example.org" in bounce
    assert "invoice-17" in bounce
    assert "none" in empty


def test_standard_input_is_a_file_too(mail_proxy: CommandLine) -> None:
    said = mail_proxy.ok("bounces", "parse", "--json", "-", input=report(GROUP))
    assert json.loads(said)["original_id"] == "invoice-17"


def test_what_would_move_the_cursor_is_not_shown(mail_proxy: CommandLine, tmp_path: Path) -> None:
    hostile = report(GROUP.replace("User unknown", "\x1b[2J\x07 gone"))
    (tmp_path / "hostile.eml").write_bytes(hostile)
    assert "\x1b" not in mail_proxy.ok("bounces", "parse", tmp_path / "hostile.eml")


@pytest.mark.parametrize("words", [[], ["missing.eml"], ["."], ["--nonsense", "x"]])
def test_only_wrong_usage_fails(mail_proxy: CommandLine, words: list[str]) -> None:
    result = mail_proxy("bounces", "parse", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
