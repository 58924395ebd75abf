"""One tenant, its account and its messages, as the document shows them; tests post and compare them."""

_MADE, _CHANGED = 1893456000, 1893459600
PK = "a1b2c3d4-e5f6-8789-8000-0000000003e9"
DONE = {"ok": True}
KEY = "the key, shown this once"
CURSOR = "YWNtZQ"
TENANT = {
    "id": "acme",
    "name": "Acme Ltd",
    "client_base_url": "https://app.example.com",
    "client_sync_path": "/mail-proxy/sync",
    "client_auth": {"method": "bearer", "token_set": True},
    "rate_limits": {"hourly": 2000, "daily": 20000},
    "webhook_secret_set": True,
    "report_strict": False,
    "report_format": "item",
    "suppress_bounces": False,
    "active": True,
    "created_at": _MADE,
    "updated_at": _CHANGED,
}
TENANT_FORM = {
    "id": "acme",
    "name": "Acme Ltd",
    "client_base_url": "https://app.example.com",
    "client_sync_path": "/mail-proxy/sync",
    "client_auth": {"method": "bearer", "token": "what the application expects"},
    "rate_limits": {"hourly": 2000, "daily": 20000},
}
ACCOUNT = {
    "id": "main",
    "tenant_id": "acme",
    "host": "smtp.example.com",
    "port": 587,
    "user": "acme",
    "password_set": True,
    "use_tls": True,
    "tls_verify": True,
    "ttl": 300,
    "on_unknown_outcome": "retry",
    "limit_per_hour": 500,
    "limit_behavior": "defer",
    "is_pec_account": False,
    "state": "ok",
    "limits": {"hour": {"limit": 500, "used": 12, "left": 488}},
    "created_at": _MADE,
    "updated_at": _CHANGED,
}
ACCOUNT_FORM = {
    "id": "main",
    "tenant_id": "acme",
    "host": "smtp.example.com",
    "port": 587,
    "user": "acme",
    "password": "what the server expects",
    "use_tls": True,
    "limit_per_hour": 500,
}
MESSAGE_FORM = {
    "id": "order-1002",
    "tenant_id": "acme",
    "account_id": "main",
    "from": "Acme <orders@example.com>",
    "to": ["customer@example.org"],
    "subject": "Your order 1002",
    "body_text": "It is on its way.",
    "body_html": "<p>It is on its way.</p>",
    "priority": "high",
    "batch_code": "orders-2030-01",
    "deferred_ts": "2030-01-01T09:00:00+01:00",
    "attachments": [
        {"filename": "invoice.txt", "storage_path": "base64:SW52b2ljZSAxMDAyCg==", "mime_type": "text/plain"}
    ],
}
BOUNCE = {
    "enabled": True,
    "imap_host": "imap.example.com",
    "imap_port": 993,
    "imap_user": "bounces@example.com",
    "imap_password_set": True,
    "imap_folder": "INBOX",
    "imap_ssl": True,
    "poll_interval": 60,
    "processed": "delete",
    "strict": False,
}
SET_ASIDE = {
    "number": 13,
    "ts": _CHANGED,
    "tenant_id": "acme",
    "account_id": "pec",
    "uidvalidity": 7,
    "uid": 4711,
    "reason": "it has 31457280 octets, at most 26214400 are read",
    "header": "From: pec@example.it\r\nSubject: CONSEGNA: invoice",
}
MAILBOX_HEALTH = {"state": "ok", "checked_ts": _CHANGED, "failures": 0, "quarantined": 0}
BOUNCE_FORM = {
    "enabled": True,
    "imap_host": "imap.example.com",
    "imap_user": "bounces@example.com",
    "imap_password": "what the server expects",
}
INSTANCE = {
    "name": "mail-proxy",
    **{f"bounce_{word}": value for word, value in BOUNCE.items()},
    "created_at": _MADE,
    "updated_at": _CHANGED,
}
COMMAND = {
    "id": 12,
    "command_ts": _CHANGED,
    "endpoint": "PATCH /account/{id}",
    "tenant_id": "acme",
    "actor": "admin",
    "request_id": "5f0c3f6e9b7d4a51",
    "object": "main",
    "payload": {"tenant_id": "acme", "password": "***", "retry_delays": [60, 300, 900]},
    "response_status": 200,
}
EVENTS = [
    {
        "event_id": 7,
        "event_type": "deferred",
        "event_ts": _MADE + 60,
        "event_data": {"attempt": 1, "reason": "temporary_failure", "code": 451, "enhanced": "4.7.1"},
        "reported": True,
    },
    {
        "event_id": 8,
        "event_type": "sent",
        "event_ts": _CHANGED,
        "event_data": {"attempt": 2, "code": 250},
        "reported": False,
    },
]
EXPLANATION = {
    "ok": True,
    "id": "order-1001",
    "status": "pending",
    "findings": [
        {
            "code": "rate_limit",
            "text": "The account main used 500 of its 500 messages a hour; the next may go at "
            "2030-01-01 01:00:00 +0000 (in 12 min).",
            "blocks": True,
            "remedy": "PATCH /account/main with a higher limit, or 0 for none",
            "action": "raise_account_limit",
            "object": "main",
            "until": _CHANGED,
        },
        {
            "code": "expiry",
            "text": "If it has not gone by 2030-01-02 00:00:00 +0000 (in 23 h), it is given up.",
            "blocks": False,
        },
    ],
}
HISTORY = [event | {"metadata": event["event_data"], "reported_ts": _CHANGED} for event in EVENTS]
DEAD_LETTER = {
    "event_id": 7,
    "event_type": "sent",
    "event_ts": _MADE,
    "event_data": {"attempt": 1, "code": 250},
    "tenant_id": "acme",
    "id": "order-1001",
    "account_id": "main",
    "cause": "HTTP status 503",
    "refusals": 0,
    "failing_since": _MADE,
    "dead_ts": _MADE + 86400,
}
RECEIPT = {
    "n": 1,
    "pk": PK,
    "type": "accettazione",
    "recipients": ["bob@pec.example.org"],
    "pec_ts": _CHANGED,
    "provider": "Gestore PEC S.p.A.",
    "identifier": "opec1@pec.example",
    "signature": "verified",
    "outcome": "applied",
    "received_ts": _CHANGED,
    "size": 9214,
}
MESSAGE = {
    "id": "order-1001",
    "pk": PK,
    "tenant_id": "acme",
    "tenant_name": "Acme Ltd",
    "account_id": "main",
    "status": "sent",
    "priority": 1,
    "batch_code": "orders-2030-01",
    "attempts": 2,
    "sent_ts": _CHANGED,
    "is_pec": False,
    "created_at": _MADE,
    "updated_at": _CHANGED,
    "message": {
        "id": "order-1001",
        "from": "orders@example.com",
        "to": ["customer@example.org"],
        "subject": "Your order 1001",
        "body": "It is on its way.",
        "priority": 1,
    },
}


SUSPENDED = {
    "ok": True,
    "tenant_id": "acme",
    "batch_code": "orders-2030-01",
    "suspended_batches": ["orders-2030-01"],
    "pending_messages": 42,
}
