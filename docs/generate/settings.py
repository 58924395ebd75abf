"""settings.md: every setting with its name, default and meaning."""

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr

from docs.generate.markdown import NOTE, code, table
from mailproxy import config
from mailproxy.config import VARIABLES, Settings

_HEAD = f"""\
# Settings

{NOTE.format("`mailproxy/config.py`")}
A flag of the command line stands above the environment, the environment above the instance file, the file above the
default. Empty counts as not given. A name that begins with `GMP_` and is none of these is warned about, together with
the nearest one that is. `mail-proxy NAME config show --all` shows what is in force; secrets are never shown.

Every secret is also read from the file that `…_FILE` names, such as `GMP_API_TOKEN_FILE`. Durations are seconds, or a
number with `s`, `m`, `h` or `d`. Lists have commas between their items. `LOG_LEVEL`, `LOG_FORMAT` and
`MAIL_PROXY_DB_PATH` are synonyms. `SIGHUP` reads everything again and keeps what was in force when something is wrong.

"""
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Database and key": {
        "db_path": "The SQLite file; a `postgresql://` address is taken, too.",
        "database_url": "`postgresql://user@host/database`; stands above `GMP_DB_PATH`.",
        "encryption_key": "Base64 of 32 bytes that seal stored credentials; the first of a list seals, all open."
        " Also read from `/run/secrets/encryption_key`. SQLite makes itself a file beside the database;"
        " PostgreSQL needs it.",
    },
    "API": {
        "host": "The address to listen at.",
        "port": "The port to listen at.",
        "api_token": "The admin's token. Without one a server refuses to start.",
        "allow_anonymous": "Let everybody in who has no token.",
        "metrics_token": "The token that `/metrics` asks for.",
        "metrics_tenant_label": "Label metrics with `tenant_id`.",
        "api_workers": "API processes: as many as cores, one with SQLite.",
        "max_body_mb": "The largest body of a call, in MiB.",
        "max_batch": "The most messages in one call.",
        "max_queued_per_tenant": "The most messages of a tenant that wait; more are refused with 429.",
        "min_free_disk_mb": "Below so many free MiB nothing is accepted.",
    },
    "Sending": {
        "max_senders": "Sender processes of a node; above that, one serves several accounts.",
        "sender_connections": "SMTP connections of a sender.",
        "batch_size_per_account": "The most messages that are claimed at once, unless an account says otherwise.",
        "account_slots": "Sender processes that may work for one account at a time, over all nodes.",
        "idle_seconds": "For how long a sender waits for more mail before it ends.",
        "scheduler_active": "Send; `false` starts suspended.",
        "dispatch_on_arrival": "Wake a sender when a message arrives, rather than at its next look.",
        "send_loop_interval": "How often senders look for what is due, without dispatch on arrival.",
        "test_mode": "Send only when run-now is called.",
        "default_priority": "0 to 3, or `immediate`, `high`, `medium`, `low`, of messages that name none.",
        "max_retries": "How often a message is tried again after temporary failures.",
        "retry_delays": "After how long, for each try; the last one repeats. Spread by ± 20 %.",
        "message_max_age": "After how long a message that could not be sent expires.",
    },
    "Reports": {
        "sync_interval": "How often a tenant is called that has nothing to be told.",
        "report_dead_after": "For how long a report is tried that is not taken.",
        "delivery_report_retention_seconds": "For how long ended and reported messages are kept.",
        "command_log_retention_seconds": "For how long the command log is kept.",
        "client_sync_url": "Where reports go of tenants that have no `client_base_url`.",
        "client_sync_user": "User of the basic login there.",
        "client_sync_password": "Its password.",
        "client_sync_token": "Bearer token there.",
    },
    "Attachments": {
        "attachment_base_dir": "Folders below which attachments of mode `filesystem` lie.",
        "attachment_base_url": "Where attachments of mode `endpoint` are fetched, of tenants without"
        " `client_base_url`.",
        "attachment_timeout": "For how long a fetch may take.",
        "max_attachment_mb": "The largest attachment, in MiB.",
        "attachment_budget_mb": "How much content a sender holds at a time, in memory or in its spool, in MiB.",
        "large_file_base_dir": "Folders below which large files may be stored (`file://`).",
        "public_base_url": "The URL at which recipients reach this service, for links to large files.",
        "fetch_allow": "Networks, addresses and names that attachments may be fetched from although they are not"
        " public; `*` for all.",
        "cache_memory_max_mb": "Size of the cache in memory.",
        "cache_memory_ttl_seconds": "For how long it keeps something.",
        "cache_disk_dir": "Folder of the cache on disk; none, no such cache.",
        "cache_disk_max_mb": "Its size.",
        "cache_disk_ttl_seconds": "For how long it keeps something.",
        "cache_disk_threshold_kb": "From which size attachments are kept on disk.",
    },
    "Network": {
        "egress_allow": "Networks, addresses and names that tenants may set as SMTP servers and URLs although they are"
        " not public; `*` for all.",
    },
    "Bounces and PEC": {
        "bounce_enabled": "Read the bounce mailbox. These are the seed of the instance's bounce settings.",
        "bounce_imap_host": "Its IMAP server.",
        "bounce_imap_port": "Its port: 993 with TLS, else 143.",
        "bounce_imap_user": "Who logs in.",
        "bounce_imap_password": "With what.",
        "bounce_ssl": "TLS from the first byte.",
        "bounce_poll_interval": "How often it is looked into.",
        "bounce_processed": "What becomes of what was read: `delete`, `seen` or `move:FOLDER`.",
        "bounce_strict": "Believe only bounces that carry the proof of a message that was sent.",
        "pec_acceptance_timeout": "After how long without a receipt of acceptance a certified mail is reported.",
        "pec_issuers": "File of the certificates, in PEM, whose signatures on receipts of certified mail are trusted.",
        "pec_unverified": "Receipts without a trusted signature: `apply` them, marked, or only `record` them."
        " Unless set, they are recorded where `GMP_PEC_ISSUERS` is set, else applied.",
        "pec_receipt_retention_seconds": "How long receipts of certified mail are kept: 30 months unless set.",
    },
    "Nodes": {
        "lease_seconds": "For how long a sender has an account without a sign of life.",
        "drain_seconds": "How long an ordinary stop waits for servers' last replies.",
        "state_dir": "Where the node keeps its journal of outcomes, its counts and its id. Every node needs its own.",
        "node_id": "The node's name; made and kept in the state folder when not given.",
    },
    "Logs": {
        "log_level": "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.",
        "log_format": "`json` or `console`; by itself `console` at a terminal.",
        "log_delivery_activity": "A line for each hand-over.",
        "debug": "The level `DEBUG`, unless another is set.",
    },
}
_MADE = {
    "api_workers": "cores; SQLite: 1",
    "log_level": "INFO",
    "state_dir": "beside the SQLite file; else below `~/.local/state/mailproxy`",
}


def text() -> str:
    """The page; raises ValueError for a setting that no section tells about."""
    told = [name for section in SECTIONS.values() for name in section]
    if wrong := set(told) ^ VARIABLES.keys():
        raise ValueError(f"SECTIONS in docs/generate/settings.py and the settings differ: {sorted(wrong)}")
    parts = [_HEAD]
    for title, section in SECTIONS.items():
        rows = ((code(VARIABLES[name]), _kind(name), _default(name), said) for name, said in section.items())
        parts += [f"## {title}\n\n", table(("variable", "type", "default", "meaning"), rows)]
    return "".join(parts)


def _kind(name: str) -> str:
    field = Settings.model_fields[name]
    if any(getattr(one, "func", None) is config._seconds for one in field.metadata):
        return "duration"
    if any(getattr(one, "func", None) is config._several_seconds for one in field.metadata):
        return "list of durations"
    return _named(field.annotation)


def _named(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(inner[0])
    if origin in (Union, types.UnionType):
        return _named(next(one for one in inner if one is not type(None)))
    if origin is Literal:
        return "word"
    if origin is tuple:
        return "list"
    names = {SecretStr: "secret", bool: "true, false", int: "number", float: "number", Path: "path"}
    return names.get(annotation, "text")


def _default(name: str) -> str:
    if name in _MADE:
        return _MADE[name]
    value = Settings.model_fields[name].get_default()
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(f"{one:g}" for one in value)
    if isinstance(value, float | int):
        return str(int(value)) if value == int(value) else str(value)
    return str(value)
