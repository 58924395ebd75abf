"""The words of mailboxes and of the mail in them."""

from collections.abc import Mapping

MAILBOXES: Mapping[str, str] = {
    "Account.mailbox": "How the reading of its mailbox goes, when it has one.",
    "MailboxHealth.failing_since": "Since when it cannot be read.",
    "MailboxHealth.failure": "Why it could not be read the last time.",
    "MailboxHealth.failures": "How often in a row.",
    "MailboxHealth.next_try": "When it is read again.",
    "MailboxHealth.state": "Whether it is read: `off`, `waiting` until the first time, `ok` or `failing`.",
    "SetAside.account_id": "The account whose mailbox it lies in; left out for the instance's.",
    "SetAside.header": "What is known of it: the beginning of its header.",
    "SetAside.number": "Its number among the mails that were set aside.",
    "SetAside.reason": "Why it could not be read.",
    "SetAside.tenant_id": "Whose account that is.",
    "mails": "The page, the newest first.",
    "quarantined": "How many mails were set aside because they could not be read.",
    "uid": "Its UID in its folder, by which an IMAP client finds it.",
    "uidvalidity": "The UIDVALIDITY under which it has this UID.",
}
