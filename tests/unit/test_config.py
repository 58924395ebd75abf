"""Settings: precedence, secrets, faults named by their variable."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from mailproxy.config import VARIABLES, Settings, load, problems
from mailproxy.errors import ConfigurationError
from mailproxy.model import Priority

KEY = base64.b64encode(b"k" * 32).decode()
CANARY = "canary-3f9c"
NOWHERE = Path("/nonexistent/encryption_key")


def read(environ: dict[str, str] | None = None, file: Path | None = None, **flags: object) -> Settings:
    return load(environ or {}, file, flags, run_secret=NOWHERE)


def faults(environ: dict[str, str], file: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(environ, file)
    return str(raised.value)


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = read()
    assert settings.database.kind == "sqlite"
    assert settings.database.path == Path("mail_service.db")
    assert (settings.host, settings.port, settings.api_workers) == ("0.0.0.0", 8000, 1)
    assert settings.retry_delays == (60, 300, 900, 3600, 7200)
    assert settings.message_max_age == 5 * 86400
    assert settings.state_dir == Path("mail_service.db.state").absolute()
    assert settings.default_priority is Priority.MEDIUM
    assert settings.warnings == ()


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = private(tmp_path / "a.toml", "port = 1\nhost = 'file'\nmax_batch = 3\nretry_delays = [1, 2]\n")
    settings = read({"GMP_PORT": "2", "GMP_HOST": "environment"}, file, port=4, host=None)
    assert (settings.port, settings.host, settings.max_batch) == (4, "environment", 3)
    assert settings.retry_delays == (1, 2)


def test_a_database_flag_of_either_name_beats_both_variables() -> None:
    environ = {"GMP_DATABASE_URL": "postgresql://h/d", "MAIL_PROXY_ENCRYPTION_KEY": KEY}
    assert read(environ, db_path="/tmp/x.db").database.path == Path("/tmp/x.db")


@pytest.mark.parametrize("variable", ["GMP_DB_PATH", "GMP_DATABASE_URL", "MAIL_PROXY_DB_PATH"])
@pytest.mark.parametrize(
    ("address", "kind", "label"),
    [
        ("sqlite:/a/b.db", "sqlite", "/a/b.db"),
        ("sqlite:///a/b.db", "sqlite", "/a/b.db"),
        ("./b.db", "sqlite", "b.db"),
        (f"postgres://u:{CANARY}@h:5/d?password={CANARY}", "postgres", "postgresql://h:5/d"),
        (f"postgresql://u:{CANARY}@h/d", "postgres", "postgresql://h/d"),
    ],
)
def test_every_way_to_name_a_database(variable: str, address: str, kind: str, label: str) -> None:
    settings = read({variable: address})
    assert (settings.database.kind, settings.database.label) == (kind, label)
    assert CANARY not in repr(settings) + repr(settings.database) + str(settings.redacted())
    if kind == "postgres":
        assert settings.database.url == address


def test_two_databases_never_share_a_state_directory() -> None:
    home = {"HOME": "/home/m"}
    places = {
        read({**home, "GMP_DB_PATH": "/a/one.db"}).state_dir,
        read({**home, "GMP_DB_PATH": "/a/two.db"}).state_dir,
        read({**home, "GMP_DB_PATH": "postgresql://h/one"}).state_dir,
        read({**home, "GMP_DB_PATH": "postgresql://h/two"}).state_dir,
    }
    assert len(places) == 4
    assert Path("/home/m/.local/state/mailproxy/h_one") in places
    assert read({**home, "GMP_STATE_DIR": "/s"}).state_dir == Path("/s")


@pytest.mark.parametrize("word", ["1", "true", "YES", "on", " on "])
def test_words_for_yes(word: str) -> None:
    assert read({"GMP_TEST_MODE": word}).test_mode is True


def test_durations_lists_priorities_and_levels_are_read_as_people_write_them() -> None:
    settings = read(
        {
            "GMP_MESSAGE_MAX_AGE": "2 d",
            "GMP_RETRY_DELAYS": "1, 2m,3h",
            "GMP_DEFAULT_PRIORITY": "high",
            "GMP_FETCH_ALLOW": "10.0.0.0/8, files.example.org",
            "LOG_LEVEL": "warn",
            "LOG_FORMAT": "JSON",
            "GMP_SENDER_IDLE_SECONDS": "7",
            "GMP_HOST": "",
        }
    )
    assert settings.message_max_age == 172800
    assert settings.retry_delays == (1, 120, 10800)
    assert settings.default_priority is Priority.HIGH
    assert settings.fetch_allow == ("10.0.0.0/8", "files.example.org")
    assert (settings.log_level, settings.log_format) == ("WARNING", "json")
    assert settings.idle_seconds == 7
    assert settings.host == "0.0.0.0"


def test_a_synonym_yields_to_the_name_it_stands_for() -> None:
    assert read({"LOG_LEVEL": "DEBUG", "GMP_LOG_LEVEL": "ERROR"}).log_level == "ERROR"


def test_an_unknown_name_warns_with_the_nearest_one(tmp_path: Path) -> None:
    file = private(tmp_path / "a.toml", "max_batsh = 3\n")
    settings = read({"GMP_MAX_SENDER": "3", "GMP_URL": "http://x", "HOME": "/"}, file)
    assert settings.warnings == (
        "GMP_MAX_SENDER: no such setting; did you mean GMP_MAX_SENDERS?",
        f"max_batsh in {file}: no such setting; did you mean max_batch?",
    )


def test_every_secret_can_come_from_a_file(tmp_path: Path) -> None:
    secrets = [name for name, info in Settings.model_fields.items() if "SecretStr" in repr(info.annotation)]
    assert len(secrets) == 7
    contents = {"encryption_key": KEY, "database_url": "postgresql://h/d"}
    environ = {
        f"{VARIABLES[name]}_FILE": str(private(tmp_path / name, contents.get(name, CANARY) + "\n"))
        for name in secrets
    }
    settings = read(environ)
    for name in secrets:
        assert getattr(settings, name).get_secret_value() == contents.get(name, CANARY)
    assert CANARY not in repr(settings) + str(settings) + str(settings.redacted()) + str(problems(settings))
    assert settings.redacted()["api_token"] == "(set)"


def test_a_secret_given_twice_or_from_a_bad_file_is_a_fault(tmp_path: Path) -> None:
    token = private(tmp_path / "token", CANARY)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe" * 16)
    text = faults(
        {
            "GMP_API_TOKEN": CANARY,
            "GMP_API_TOKEN_FILE": str(token),
            "GMP_METRICS_TOKEN_FILE": str(tmp_path / "none"),
            "MAIL_PROXY_ENCRYPTION_KEY_FILE": str(binary),
        }
    )
    assert "GMP_API_TOKEN and GMP_API_TOKEN_FILE are both set" in text
    assert "GMP_METRICS_TOKEN_FILE: the file cannot be read: No such file" in text
    assert "MAIL_PROXY_ENCRYPTION_KEY_FILE: the file cannot be read: it is not UTF-8 text" in text
    assert CANARY not in text


def test_the_run_secret_is_the_key_unless_another_is_given(tmp_path: Path) -> None:
    other = base64.b64encode(b"o" * 32).decode()
    mounted = private(tmp_path / "encryption_key", KEY + "\n")
    assert load({}, run_secret=mounted).encryption_keys == (b"k" * 32,)
    ring = load({"MAIL_PROXY_ENCRYPTION_KEY": f"{other}, {KEY}"}, run_secret=mounted).encryption_keys
    assert ring == (b"o" * 32, b"k" * 32)


def test_an_instance_file_with_secrets_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"api_token = '{CANARY}'\n")
    file.chmod(0o640)
    assert "chmod 600" in faults({}, file)
    file.chmod(0o600)
    api_token = read({}, file).api_token
    assert api_token is not None
    assert api_token.get_secret_value() == CANARY


@pytest.mark.bad_input("B43")
def test_all_bad_values_are_reported_at_once_by_their_variable(tmp_path: Path) -> None:
    text = faults(
        {
            "GMP_PORT": f"{CANARY}",
            "GMP_DATABASE_URL": f"mysql://u:{CANARY}@h/d",
            "GMP_RETRY_DELAYS": f"1,{CANARY}",
            "GMP_CLIENT_SYNC_URL": f"https://u:{CANARY}@h/",
            "GMP_ATTACHMENT_BASE_URL": f"http://u:{CANARY}@[h/",
            "MAIL_PROXY_ENCRYPTION_KEY": CANARY,
            "GMP_DEBUG": CANARY,
            "GMP_LEASE_SECONDS": "nan",
            "LOG_LEVEL": "loud",
        },
        private(tmp_path / "a.toml", "max_batch = 0\n"),
    )
    lines = text.splitlines()
    named = [line.split(":")[0] for line in lines]
    assert sorted(named) == sorted(
        [
            "GMP_ATTACHMENT_BASE_URL",
            "GMP_CLIENT_SYNC_URL",
            "GMP_DATABASE_URL",
            "GMP_DEBUG",
            "GMP_LEASE_SECONDS",
            "GMP_PORT",
            "GMP_RETRY_DELAYS",
            "LOG_LEVEL",
            "MAIL_PROXY_ENCRYPTION_KEY",
            f"max_batch in {tmp_path}/a.toml",
        ]
    )
    assert CANARY not in text


def test_a_file_that_is_not_toml_is_a_fault_with_its_line(tmp_path: Path) -> None:
    text = faults({}, private(tmp_path / "a.toml", f"port = 1\napi_token = {CANARY}\n"))
    assert "line 2" in text
    assert CANARY not in text


def test_a_server_without_a_token_or_postgresql_without_a_key_does_not_start() -> None:
    assert [line.split(" ")[0] for line in problems(read({"GMP_DB_PATH": "postgresql://h/d"}))] == [
        "GMP_API_TOKEN",
        "MAIL_PROXY_ENCRYPTION_KEY",
    ]
    assert problems(read({"GMP_ALLOW_ANONYMOUS": "yes"})) == []
    assert ":memory:" in problems(read({"GMP_API_TOKEN": CANARY, "GMP_DB_PATH": ":memory:"}))[0]


def test_settings_never_change() -> None:
    settings = Settings(api_token=SecretStr(CANARY))
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
