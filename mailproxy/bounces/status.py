"""Status codes and the words around them: enhanced codes (RFC 3463), SMTP replies (RFC 5321 §4.2), prose."""

import re
from dataclasses import dataclass, replace

from mailproxy.bounces.causes import CAUSES
from mailproxy.bounces.report import BounceClass, BounceType

MAX_REASON = 500

_STATUS_FIELD = re.compile(r"\s*([245])(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?(?!\d)")
_ENHANCED = re.compile(r"(?<![\w.])([45]\.\d{1,3}\.\d{1,3})(?![\d]|\.\d)")
_REPLY_WITH_STATUS = re.compile(
    r"(?<![\w.])([45][0-5]\d)(?:[ -]{1,2}[(#\[]{0,2}|#)([45]\.\d{1,3}\.\d{1,3})(?!\.?\d)"
)
_REPLY = re.compile(
    r"(?:^|\n|said:|says:|replied:|returned:|response:|answered:|error|code|status|smtp;|<<<|>>>|: |[\"'(\[。])"
    r"\s{0,40}[\"'(\[:]?\s?([45][0-5]\d)(?=[ #\-:;,)\"'\]]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_SPACE = re.compile(r"\s+")

_BY_SUBJECT_AND_DETAIL = {
    "1.7": BounceClass.POLICY,
    "1.8": BounceClass.POLICY,
    "2.3": BounceClass.CONTENT,
    "3.4": BounceClass.CONTENT,
}
_VAGUE = (("3", "0"), ("4", "0"), ("7", "0"), ("7", "1"))
_BY_SUBJECT = {
    "1": BounceClass.RECIPIENT,
    "2": BounceClass.RECIPIENT,
    "3": BounceClass.INFRASTRUCTURE,
    "4": BounceClass.INFRASTRUCTURE,
    "6": BounceClass.CONTENT,
    "7": BounceClass.POLICY,
}
_BY_REPLY = {
    450: BounceClass.RECIPIENT,
    452: BounceClass.RECIPIENT,
    550: BounceClass.RECIPIENT,
    551: BounceClass.RECIPIENT,
    552: BounceClass.RECIPIENT,
    553: BounceClass.RECIPIENT,
    554: BounceClass.POLICY,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What codes and words together say of one failure."""

    status: str | None
    smtp_code: int | None
    type: BounceType
    bounce_class: BounceClass


def judged(status: str | None, smtp_code: int | None, prose: str) -> Verdict:
    """Type and class of a failure.

    The first digit of the status decides the type, else that of the SMTP reply, else the words, else it is
    hard. The class is that of the status where it says one (X.0.0, X.5.x and those that servers use for
    anything do not), else that of the words, else that of the reply.
    """
    meant = next(((kind, lasting) for words, kind, lasting in CAUSES if words.search(prose)), None)
    digit = status[0] if status and status[0] != "2" else str(smtp_code or "")[:1]
    if digit:
        bounce_type = BounceType.HARD if digit == "5" else BounceType.SOFT
    else:
        bounce_type = meant[1] if meant else BounceType.HARD
    subject, _, detail = (status or "")[2:].partition(".")
    by_status = _BY_SUBJECT_AND_DETAIL.get(f"{subject}.{detail}") or _BY_SUBJECT.get(subject)
    if meant and (subject, detail) in _VAGUE and (subject != "7" or meant[0] is BounceClass.RECIPIENT):
        by_status = None
    by_reply = _BY_REPLY.get(smtp_code or 0, BounceClass.INFRASTRUCTURE)
    return Verdict(status, smtp_code, bounce_type, by_status or (meant[0] if meant else by_reply))


def read_prose(prose: str) -> Verdict:
    """The verdict on a failure of which only a text is known, with the codes found in it."""
    status, smtp_code = codes_in(prose)
    return judged(status, smtp_code, prose)


def tells(prose: str) -> bool:
    """Whether a text gives a cause: a code or words of a known meaning."""
    return any(codes_in(prose)) or any(words.search(prose) for words, _, _ in CAUSES)


def codes_in(prose: str) -> tuple[str | None, int | None]:
    """The first enhanced status and the SMTP reply code of a text; numbers of other kinds are passed over."""
    both = _REPLY_WITH_STATUS.search(prose)
    if both and both[2][0] == both[1][0]:
        return both[2], int(both[1])
    status = _ENHANCED.search(prose)
    reply = _REPLY.search(prose)
    return status[1] if status else None, int(reply[1]) if reply else None


def status_field(value: str) -> tuple[str | None, int | None]:
    """A Status field as it is written in the wild: `5`, `5.1`, `5.1.1 (comment)`, or an SMTP code."""
    if code := re.match(r"\s*([45]\d\d)(?![\d.])", value):
        return None, int(code[1])
    found = _STATUS_FIELD.match(value)
    return (f"{found[1]}.{found[2] or 0}.{found[3] or 0}" if found else None), None


def one_line(text: str) -> str | None:
    """A reason: one line of at most MAX_REASON characters."""
    line = _SPACE.sub(" ", text[: 8 * MAX_REASON]).strip(" ,;:")
    return (line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…") or None


def without_final(verdict: Verdict) -> Verdict:
    """The same for a recipient that is still tried: whatever the codes say, nothing is permanent yet."""
    return replace(verdict, type=BounceType.SOFT)
