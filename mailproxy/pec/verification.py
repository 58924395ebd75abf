"""Whether a receipt's signature holds and who made it, as `openssl cms` finds: no library verifies CMS for us."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mailproxy.model import Seconds
from mailproxy.pec.receipt import ADDRESS
from mailproxy.pec.signed import Signed, signed_parts
from mailproxy.received import read

WITHIN: Seconds = 4.0

_CAUSE = re.compile(r"Verify error:\s*(.+)|error:[0-9A-F]+:[^:]*:[^:]*:([^:\n]+)", re.IGNORECASE)


class Verdict(StrEnum):
    """VERIFIED: signed by its author, whom a trusted issuer vouches for. INVALID: altered since, or no signature."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verification:
    """`note` says why it is not verified; `content` is what was signed, as it was signed."""

    verdict: Verdict
    note: str | None = None
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    is_valid: bool
    cause: str
    content: bytes = field(repr=False)
    signers: tuple[str, ...] = ()


def verify(raw: bytes, issuers: Path | None, *, within: Seconds = WITHIN) -> Verification:
    """`issuers` is a file of certificates in PEM, None when nobody is trusted; each run of openssl lasts `within`
    seconds at most. Never raises for what `raw` holds."""
    signed = signed_parts(raw)
    if signed is None:
        return Verification(Verdict.UNVERIFIED, "it is not signed")
    author = (read(raw[: 64 << 10]).top.get("from") or "").lower()
    try:
        with tempfile.TemporaryDirectory(prefix="mailproxy-receipt-") as place:
            return _verified(signed, issuers, author, Path(place), within)
    except subprocess.TimeoutExpired:
        return Verification(Verdict.UNVERIFIED, "its verification took too long")
    except OSError as problem:
        return Verification(Verdict.UNVERIFIED, f"openssl cannot be run: {problem.strerror}")


def _verified(
    signed: Signed, issuers: Path | None, author: str, place: Path, within: Seconds
) -> Verification:
    (place / "signature").write_bytes(signed.signature)
    if signed.content is not None:
        (place / "content").write_bytes(signed.content)
    has_content = signed.content is not None
    intact = _run(place, ["-noverify"], within, has_content=has_content)
    if not intact.is_valid:
        return Verification(Verdict.INVALID, intact.cause, signed.content)
    if issuers is None:
        return Verification(Verdict.UNVERIFIED, "no issuers are configured", intact.content)
    trusted = ["-CAfile", str(issuers), "-partial_chain", "-no-CApath", "-no-CAstore"]
    found = _run(place, trusted, within, has_content=has_content)
    if not found.is_valid:
        return Verification(Verdict.UNVERIFIED, found.cause, intact.content)
    if not set(found.signers) & set(ADDRESS.findall(author)):
        note = f"it is signed by {', '.join(found.signers) or 'nobody named'}, not by its author"
        return Verification(Verdict.UNVERIFIED, note, intact.content)
    return Verification(Verdict.VERIFIED, None, found.content)


def _run(place: Path, trust: Sequence[str], within: Seconds, *, has_content: bool) -> _Found:
    content = ["-content", str(place / "content")] if has_content else []
    out, signer = place / "out", place / "signer"
    for stale in (out, signer):
        stale.unlink(missing_ok=True)
    command = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        str(place / "signature"),
        *content,
    ]
    done = _openssl([*command, "-out", str(out), "-signer", str(signer), *trust], within)
    if done.returncode != 0 or not out.exists():
        return _Found(False, _cause(done.stderr), b"")
    told = _openssl(["openssl", "x509", "-in", str(signer), "-noout", "-email"], within).stdout
    return _Found(True, "", out.read_bytes(), tuple(told.decode("utf-8", "replace").lower().split()))


def _openssl(command: Sequence[str], within: Seconds) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=within, check=False)  # noqa: S603 - our own words and paths


def _cause(stderr: bytes) -> str:
    found = [one or other for one, other in _CAUSE.findall(stderr.decode("utf-8", "replace"))]
    words = [" ".join(text.split()) for text in found if text.strip()]
    return "; ".join(dict.fromkeys(reversed(words)))[:200] or "openssl does not accept the signature"
