"""No secret comes out: not in an answer, a log line, a metric, the command log, a file, or what a command prints."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import psutil
import pytest
from click.testing import CliRunner

from mailproxy.cli.home import instance_named
from mailproxy.cli.main import cli
from tests.cli.test_tree import TREE
from tests.conftest import DIALECTS
from tests.process.canaries import ACCOUNT, BODIES, SECRETS, TENANT, Questions, database_url, leaks
from tests.process.peers import SmtpServer, TenantEndpoint, letters, smtp_server, tenant_endpoint
from tests.process.service import Service, running, until
from tests.support import postgres

STARTS_OR_ENDS = {
    "start",
    "stop",
    "restart",
    "delete",
    "serve",
    "api",
    "workers",
    "demo",
    "use",
    "first token",
}
SHOWN = {"first info": {"admin token"}}
ARGUMENTS = {
    "status": ["first"],
    "doctor": ["first", "--within", "5"],
    "first tenants show": [TENANT],
    "first tenants add": ["other", "-y"],
    "first tenants update": [TENANT, "--name", "Acme"],
    "first tenants webhook-secret": [TENANT, "--secret-file", "-"],
    "first tenants api-key": ["other"],
    "first tenants delete": ["other", "-f"],
    "first acme accounts show": ["main"],
    "first acme accounts update": ["main", "--password-stdin"],
    "first acme accounts reset": ["wrong"],
    "first acme messages show": [f"{TENANT}-main-0"],
    "first acme messages explain": [f"{TENANT}-wrong-0"],
    "first acme messages resolve": [f"{TENANT}-main-0", "--as", "sent"],
}


class Planted:
    """A service that has been asked everything and has met every trouble its secrets can meet."""

    def __init__(self, service: Service, environ: dict[str, str]) -> None:
        self.service = service
        self.environ = environ
        self.questions = Questions(service)

    def command(self, words: list[str], secret: str) -> str:
        result = CliRunner().invoke(cli, words, input=f"{secret}\n", env=self.environ, prog_name="mail-proxy")
        return str(result.output) + repr(result.exception)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.service.folder.glob("server-*.log"))


@contextlib.contextmanager
def _database(dialect: str, file: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if dialect == "sqlite":
        yield {"GMP_DB_PATH": str(file)}
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield {"GMP_DATABASE_URL": database_url(url)}


@pytest.fixture(scope="module")
def guarded_smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    """It takes one password, and quotes none."""
    folder = tmp_path_factory.mktemp("smtp")
    with smtp_server(folder / "log", user="u", password=SECRETS["SMTP password"]) as server:
        yield server


@pytest.fixture(scope="module")
def talkative_smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    """It quotes the password it refuses."""
    replies = {"auth": f"535 5.7.8 wrong password {SECRETS['wrong SMTP password']} for u"}
    with smtp_server(tmp_path_factory.mktemp("smtp") / "log", user="u", replies=replies) as server:
        yield server


@pytest.fixture(scope="module")
def refusing_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantEndpoint]:
    """It quotes the token it refuses, and takes reports all the same later."""
    quoting = {"status": 401, "body": f"bad token {SECRETS['bearer token']}"}
    with tenant_endpoint(tmp_path_factory.mktemp("endpoint") / "log", quoting, {}) as server:
        yield server


@pytest.fixture(scope="module", params=DIALECTS)
def told(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    guarded_smtp: SmtpServer,
    talkative_smtp: SmtpServer,
    refusing_endpoint: TenantEndpoint,
) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("canaries")
    patch = pytest.MonkeyPatch()
    patch.setenv("GMP_HOME", str(folder / "home"))
    instance = instance_named("first")
    instance.create(host="127.0.0.1", port=8000)
    with _database(str(request.param), instance.database_file, request) as database:
        environ = {
            **database,
            "GMP_HOME": str(folder / "home"),
            "GMP_STATE_DIR": str(folder / "state"),
            "GMP_API_TOKEN": SECRETS["admin token"],
            "GMP_METRICS_TOKEN": SECRETS["metrics token"],
            "MAIL_PROXY_ENCRYPTION_KEY": SECRETS["encryption key"],
            "GMP_CLIENT_SYNC_URL": refusing_endpoint.url,
            "GMP_CLIENT_SYNC_USER": "u",
            "GMP_CLIENT_SYNC_PASSWORD": SECRETS["global sync password"],
            "GMP_BOUNCE_IMAP_PASSWORD": SECRETS["IMAP password of the environment"],
            "GMP_LOG_LEVEL": "DEBUG",
            "GMP_LOG_DELIVERY_ACTIVITY": "true",
        }
        with running(folder, environ) as service:
            planted = Planted(service, environ)
            _meet_trouble(planted, guarded_smtp.port, talkative_smtp.port, refusing_endpoint)
            planted.questions.ask_everything()
            yield planted
    patch.undo()


def _meet_trouble(planted: Planted, right: int, wrong: int, endpoint: TenantEndpoint) -> None:
    service = planted.service
    service.client.headers["X-API-Token"] = SECRETS["admin token"]
    made = service.call("POST", "/tenant", {**BODIES["/tenant"], "client_base_url": endpoint.url})
    planted.questions.made.append(made["api_key"])
    accounts = {"main": (right, "SMTP password"), "wrong": (wrong, "wrong SMTP password")}
    for name, (port, secret) in accounts.items():
        service.call("POST", "/account", {**ACCOUNT, "id": name, "port": port, "password": SECRETS[secret]})
        service.post(letters(TENANT, name, range(2)))
    mailbox = {"enabled": True, "imap_host": "127.0.0.1", "imap_port": 9, "imap_user": "u", "imap_ssl": False}
    service.call("PUT", "/instance/bounce", {**mailbox, **BODIES["/instance/bounce"]})
    service.call("POST", "/instance/bounce/reload")
    shown = {"tenant_id": TENANT}
    until(
        lambda: service.call("GET", "/account/wrong", None, **shown)["state"] == "breaker_open",
        so=service.last_words,
    )
    until(lambda: len(endpoint.ids(TENANT, "sent")) == 2 and endpoint.calls > 1, so=service.last_words)


def test_no_answer_tells_a_secret(told: Planted) -> None:
    made = told.questions.made
    found = {name: leaks(text, made) for name, text in told.questions.answers.items()}
    assert {name: which for name, which in found.items() if which} == {}
    assert len(told.questions.answers) > 300


def test_no_metric_tells_a_secret(told: Planted) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{told.service.port}", trust_env=False) as scraper:
        assert scraper.get("/metrics").status_code == 401
        answer = scraper.get("/metrics", headers={"X-API-Token": SECRETS["metrics token"]})
    assert "gmp_sent_total" in answer.text
    assert leaks(answer.text, told.questions.made) == set()


def test_no_log_line_tells_a_secret(told: Planted) -> None:
    lines = told.log().splitlines()
    assert any('"level": "debug"' in line or '"level":"debug"' in line for line in lines)
    guilty = {line[:300]: which for line in lines if (which := leaks(line, told.questions.made))}
    assert guilty == {}


def test_no_command_tells_a_secret(told: Planted) -> None:
    secret = SECRETS["webhook secret"]
    for words, command in TREE:
        name = " ".join(words)
        if isinstance(command, click.Group) or name in STARTS_OR_ENDS:
            continue
        for form in ([], ["--json"]):
            shown = told.command([*words, *ARGUMENTS.get(name, []), *form], secret)
            found = leaks(shown, told.questions.made) - SHOWN.get(name, set())
            assert found == set(), f"{name}: {shown}"


def test_no_command_line_of_a_process_tells_a_secret(told: Planted) -> None:
    for pid in told.service.members():
        with contextlib.suppress(psutil.NoSuchProcess):
            assert leaks(" ".join(psutil.Process(pid).cmdline())) == set()


def test_no_file_keeps_a_secret_in_clear(told: Planted, request: pytest.FixtureRequest) -> None:
    if database := told.environ.get("GMP_DB_PATH"):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    for path in told.service.folder.rglob("*"):
        if path.is_file():
            assert leaks(path.read_bytes().decode("latin-1"), told.questions.made) == set(), path
