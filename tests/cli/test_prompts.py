"""Questions at a real terminal."""

from tests.cli.conftest import CommandLine


def test_an_account_is_asked_for_at_a_terminal(acme: CommandLine) -> None:
    answers = ["second", "smtp.example.net", "465", "ann", "hush-hush", "yes", "", "20", ""]
    code, shown = acme.at_terminal("first", "acme", "accounts", "add", answers=answers)
    assert code == 0, shown
    assert "hush-hush" not in shown, "a password is never echoed"
    account = acme.json("first", "acme", "accounts", "show", "second")
    assert (account["host"], account["port"], account["user"]) == ("smtp.example.net", 465, "ann")
    assert account["password_set"] is True
    assert account["use_tls"] is True
    assert account["limit_per_hour"] == 20
    assert "limit_per_day" not in account


def test_a_wrong_answer_is_asked_again(acme: CommandLine) -> None:
    options = ["second", "-u", "", "--tls", "--limit-minute", "0", "--limit-hour", "0", "--limit-day", "0"]
    code, shown = acme.at_terminal(
        "first", "acme", "accounts", "add", *options, answers=["no/host", "localhost", "0", "25"]
    )
    assert code == 0, shown
    assert "must be a host name" in shown
    assert acme.json("first", "acme", "accounts", "show", "second")["port"] == 25


def test_only_what_follows_from_the_answers_is_asked(acme: CommandLine) -> None:
    answers = ["Beta", "https://beta.example.com", "", "", "bearer", "hush-hush", "", ""]
    code, shown = acme.at_terminal("first", "tenants", "add", "beta", answers=answers)
    assert code == 0, shown
    assert "hush-hush" not in shown
    assert acme.json("first", "tenants", "show", "beta")["client_auth"]["method"] == "bearer"
    code, shown = acme.at_terminal("first", "tenants", "add", "gamma", answers=["", "", "", ""])
    assert code == 0, shown
    assert "Login" not in shown


def test_defaults_ask_nothing(acme: CommandLine) -> None:
    code, shown = acme.at_terminal("first", "tenants", "add", "beta", "-y", answers=[])
    assert code == 0, shown


def test_a_refusal_deletes_nothing(acme: CommandLine) -> None:
    code, shown = acme.at_terminal("first", "tenants", "delete", "acme", answers=["n"])
    assert code == 1
    assert "Aborted" in shown
    code, _ = acme.at_terminal("first", "tenants", "delete", "acme", answers=["y"])
    assert code == 0
    assert acme.json("first", "tenants", "list") == []


def test_an_account_that_is_there_already_is_told_before_anything_is_asked(acme: CommandLine) -> None:
    code, shown = acme.at_terminal("first", "acme", "accounts", "add", "main", answers=[])
    assert code == 5, shown
    assert "There is an account 'main' already." in shown
    assert "SMTP server" not in shown


def test_a_tenant_that_is_there_already_is_told_before_anything_is_asked(acme: CommandLine) -> None:
    code, shown = acme.at_terminal("first", "tenants", "add", "acme", answers=[])
    assert code == 5, shown
    assert "tenants update acme" in shown
    assert "Name for people" not in shown
