"""Every stable word a client may meet, what it means and what to do: of errors, and of messages not queued."""

from collections.abc import Mapping
from typing import NamedTuple


class Word(NamedTuple):
    """`example` is an error's `detail` as it is sent."""

    meaning: str
    example: object


_FAULTS = [{"type": "missing", "loc": ["query", "tenant_id"], "msg": "Field required"}]
_NOTHING = {
    "error": "All messages were rejected",
    "rejected": [{"id": "order-1001", "reason": "missing subject", "code": "missing_subject"}],
}
_TOO_MANY = {"error": "Cannot enqueue more than 1000 messages at once", "rejected": []}
_FULL_SUSPENSION = "tenant not found or cannot activate single batch from full suspension"
_ADMIN_ONLY = "Admin token required, tenant tokens not allowed for this operation"

ERRORS: Mapping[str, Word] = {
    "account_busy": Word(
        "Messages of the account are being handed over; come back when their outcome is known.",
        "2 of its messages are being handed over: try again when their outcome is known",
    ),
    "account_not_found": Word(
        "The tenant has no account of this id; another tenant's account is missing as well.",
        "account not found or not owned by tenant",
    ),
    "admin_required": Word("The token is valid, but only the admin may do this.", _ADMIN_ONLY),
    "all_rejected": Word("No message was queued; `rejected` says why, message by message.", _NOTHING),
    "ambiguous_token": Word(
        "More than one token was sent; send one, in one header.", "Send one token, in one header"
    ),
    "batch_too_large": Word("The call holds too many messages; split it.", _TOO_MANY),
    "body_timeout": Word("The body stopped arriving; send it again.", "The body stopped arriving"),
    "body_too_large": Word(
        "The body is too large; send less in one call.", "The body is larger than 67108864 octets"
    ),
    "bounce_not_configured": Word(
        "Bounces are to be fetched, but from where is not set; set `imap_host`.",
        "Bounce enabled but imap_host not configured",
    ),
    "cannot_activate": Word(
        "There is no such tenant, or all of it is suspended: activate it without a batch code.",
        _FULL_SUSPENSION,
    ),
    "commit_unknown": Word(
        "The database went away during the commit: the change may be there. Repeat the call with the same ids.",
        "The connection broke during COMMIT",
    ),
    "disk_full": Word(
        "The disk is nearly full, so no mail is accepted; come back after `Retry-After`.",
        "The disk is nearly full: nothing is accepted",
    ),
    "file_unavailable": Word(
        "The file is there, but its storage does not answer; come back after `Retry-After`.",
        "The file's storage does not answer",
    ),
    "link_ended": Word("The link's time is over, or its file is gone.", "This link has ended"),
    "link_invalid": Word("The link was not made here, or not as it is now.", "This is not a valid link"),
    "range_not_satisfiable": Word("The file ends before the range begins.", "The file has no such range"),
    "header_timeout": Word(
        "The request header did not arrive in time.", "The request header did not arrive in time"
    ),
    "header_too_large": Word("The request header is too large.", "The request header is too large"),
    "idempotency_in_flight": Word(
        "A call under this `Idempotency-Key` is under way; repeat it to get its answer.",
        "A call under this Idempotency-Key is under way",
    ),
    "idempotency_key_reused": Word(
        "This `Idempotency-Key` was used with another body in the last 24 hours; take a new one.",
        "This Idempotency-Key was used with another body: take a new key for a new call",
    ),
    "invalid_idempotency_key": Word(
        "`Idempotency-Key` is empty, too long, given twice, or not visible ASCII.",
        "Idempotency-Key must be 1 to 255 visible ASCII characters, given once",
    ),
    "host_not_allowed": Word(
        "A tenant may only use SMTP servers at public addresses; ask the admin to set this one or to allow it"
        " with `GMP_EGRESS_ALLOW`.",
        "127.0.0.1 is a loopback address: tenants may not set that; the admin may, or allow it with GMP_EGRESS_ALLOW",
    ),
    "invalid_cursor": Word(
        "Pass `next_cursor` of the former page unchanged, or no cursor.", "The cursor is not one of ours"
    ),
    "invalid_http": Word("The request is not HTTP/1.1.", "Invalid HTTP request received"),
    "invalid_json": Word(
        "The body is not JSON (RFC 8259); the text says where.",
        "The body is not valid JSON: the name 'id' occurs twice in one object",
    ),
    "invalid_text": Word(
        "A text holds NUL or half of a surrogate pair, which cannot be stored; remove it.",
        "name holds NUL or half of a surrogate pair",
    ),
    "invalid_token": Word(
        "No token was sent, or it is not (or no longer) valid, or its tenant is disabled.",
        "Invalid or missing API token",
    ),
    "message_not_found": Word(
        "The tenant has no message of this id; another tenant's message is missing as well.",
        "Message 'order-1001' not found",
    ),
    "receipt_not_found": Word("The message has no receipt of this number.", "Receipt '7' not found"),
    "not_cancellable": Word(
        "The message has ended or its hand-over has begun; the text names its state.",
        "The message cannot be cancelled: it is sent",
    ),
    "not_in_doubt": Word(
        "Whether the message was sent is known, so there is nothing to decide; the text names its state.",
        "There is nothing in doubt about the message: it is sent",
    ),
    "not_found": Word("Nothing can have this id.", "Not Found"),
    "nothing_selected": Word(
        "What is discarded is never reported, so it has to be named.", "Say which: event_ids, since or until"
    ),
    "nothing_suppressed": Word(
        "No address was added: none is a mailbox (RFC 5321, RFC 6531), or all entries had ended already.",
        "Nothing was added: 'customer': has no @; write name@example.com",
    ),
    "quota_exceeded": Word(
        "The tenant has too many messages waiting; come back after `Retry-After`.",
        "The tenant has 1000000 messages waiting, at most 1000000 may",
    ),
    "storage_not_allowed": Word(
        "A tenant may set a storage of its own, with its own credentials, and no directory of the server.",
        "file:// is this server's disk: only the admin may set it",
    ),
    "storage_not_usable": Word(
        "Large files cannot be stored where the configuration says; the text says what to install or to set.",
        "Large files cannot be stored: file:// is switched off: name directories in GMP_LARGE_FILE_BASE_DIR",
    ),
    "storage_full": Word("The database's disk is full.", "The database's disk is full"),
    "storage_locked": Word(
        "Another program holds the database; come back after `Retry-After`.",
        "The database is locked by another program",
    ),
    "storage_read_only": Word("The database is read-only at the moment.", "The database is read-only"),
    "password_required": Word(
        "A tenant that moves an account to another server gives the password with it: the admin may have stored it.",
        "Give the password with the new host: the stored one is sent to smtp.example.com only",
    ),
    "storage_unavailable": Word(
        "The database does not answer, so nothing was done; come back after `Retry-After`.",
        "The database is not available",
    ),
    "suppression_not_found": Word(
        "The address is not on the tenant's suppression list.", "Suppression 'customer@example.org' not found"
    ),
    "tenant_id_required": Word("Name the tenant: `tenant_id` is empty.", "tenant_id is required"),
    "tenant_not_authorized": Word(
        "A tenant's key may be used for that tenant only.", "Token not authorized for this tenant"
    ),
    "tenant_not_found": Word("There is no tenant of this id.", "Tenant 'acme' not found"),
    "too_many_failures": Word(
        "Too many refused tokens came from this address; come back after `Retry-After`.",
        "Too many refused tokens from this address",
    ),
    "unsupported_encoding": Word(
        "Send the body as it is, without Content-Encoding.", "Send the body without Content-Encoding"
    ),
    "unsupported_media_type": Word("Send `application/json`.", "Send application/json"),
    "url_not_allowed": Word(
        "A tenant may only name URLs at public addresses; ask the admin to set this one or to allow it with"
        " `GMP_EGRESS_ALLOW`.",
        "localhost is this machine: tenants may not set that; the admin may, or allow it with GMP_EGRESS_ALLOW",
    ),
    "url_too_long": Word("The URL is too long.", "The URL is longer than 8192 octets"),
    "validation_error": Word(
        "Fields are missing or wrong; the list says which, and what is wrong with each.", _FAULTS
    ),
}

REJECTIONS: Mapping[str, str] = {
    "already_sent": "a message of this id was sent; nothing has to be done",
    "being_sent": "a message of this id is being sent right now",
    "outcome_unknown": "whether the message of this id was sent is not known",
    "missing_id": "`id` is missing",
    "missing_tenant_id": "`tenant_id` is missing and the account does not tell it",
    "missing_account_id": "`account_id` is missing",
    "missing_from": "`from` is missing",
    "missing_to": "`to` is missing",
    "missing_subject": "`subject` is missing",
    "account_not_found": "the tenant has no such account",
    "invalid_id": "`id` is too long or holds control characters",
    "invalid_priority": "`priority` is neither 0 to 3 nor a word for it",
    "invalid_time": "`deferred_ts` or `expires_at` is not a time",
    "invalid_batch_code": "`batch_code` holds other characters than it may",
    "invalid_content_type": "`content_type` is neither plain nor html",
    "invalid_address": "an address is no mailbox (RFC 5321, RFC 6531)",
    "no_recipient": "`to` holds no address",
    "recipient_suppressed": "every recipient is on the tenant's suppression list, or one of certified mail is",
    "too_many_recipients": "the message has too many recipients",
    "subject_too_long": "`subject` is longer than 998 octets",
    "header_injection": "a line break or NUL stands, or hides, in header text",
    "invalid_text": "a text holds control characters or half of a surrogate pair",
    "invalid_message_id": "`message_id` is not `<left@right>`",
    "headers_too_large": "there are too many headers, or too large ones",
    "invalid_header_name": "a header's name is not one (RFC 5322)",
    "invalid_header_value": "a header's value is neither text nor number nor boolean",
    "reserved_header": "a header is written by the service itself",
    "pec_sender": "the account is of certified mail, which is from its own mailbox alone (RFC 6109)",
    "pec_return_path": "certified mail has its author as return path (RFC 6109)",
    "pec_bcc": "certified mail has no hidden recipients (RFC 6109)",
    "message_too_large": "size times recipients is more than certified mail may have (RFC 6109)",
    "attachment_incomplete": "an attachment has no `filename` or `storage_path`",
    "attachment_mismatch": "an attachment's content has another MD5 than it should",
    "invalid_storage_path": "an attachment's `storage_path` holds control characters",
    "invalid_auth": "an attachment's `auth` is no login that can be sent",
    "path_not_allowed": "a file is not below a folder of `GMP_ATTACHMENT_BASE_DIR`",
    "url_not_allowed": "a URL leads where nothing is fetched from (`GMP_FETCH_ALLOW`)",
    "invalid_base64": "an attachment is not base64 (RFC 4648)",
    "invalid_filename": "an attachment's name is no plain file name",
    "invalid_mime_type": "an attachment's type is not one it may have",
    "invalid_content_id": "an attachment's `content_id` is not one",
}
