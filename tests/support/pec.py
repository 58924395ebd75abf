"""A PEC provider of our own: certificates that expire or not, and signed receipts as RFC 6109 has them."""

import base64
import datetime
from dataclasses import dataclass
from html import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHOR = "posta-certificata@pec.example"
MAILBOX = "acme@pec.example"
_DAY = datetime.timedelta(days=1)
_WORDS = {
    "accettazione": "ACCETTAZIONE",
    "non-accettazione": "AVVISO DI NON ACCETTAZIONE",
    "presa-in-carico": "PRESA IN CARICO",
    "avvenuta-consegna": "CONSEGNA",
    "errore-consegna": "AVVISO DI MANCATA CONSEGNA",
    "preavviso-errore-consegna": "AVVISO DI MANCATA CONSEGNA PER SUP. TEMPO MASSIMO",
    "rilevazione-virus": "PROBLEMA DI SICUREZZA",
}


@dataclass(frozen=True, slots=True)
class About:
    """What a receipt is about: the message's id, who it was for, and whom this receipt is about."""

    message_id: str
    recipients: tuple[str, ...]
    delivered_to: str | None = None
    error: str = "nessuno"
    reason: str | None = None
    returned: str | None = None


class Provider:
    """`issuer` is the certificate to trust, in PEM. `days` < 0: the signer's certificate has expired."""

    def __init__(self, *, author: str = AUTHOR, days: int = 1) -> None:
        self.author = author
        self.serial = 0
        root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root_name = _name(f"PEC issuer {x509.random_serial_number()}")
        root = _certificate(root_name, root_name, root_key.public_key(), days=2)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.issuer = root.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        signer = _certificate(_name("PEC provider"), root_name, self._key.public_key(), days=days)
        signer = signer.add_extension(
            x509.SubjectAlternativeName([x509.RFC822Name(self.author)]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        self._certificate = signer.sign(root_key, hashes.SHA256())

    def receipt(
        self, kind: str, about: About, *, headers: str | None = None, is_opaque: bool = False
    ) -> bytes:
        """A signed receipt, in CRLF lines."""
        self.serial += 1
        top = (
            headers
            if headers is not None
            else f"X-Ricevuta: {kind}\nX-Riferimento-Message-ID: {about.message_id}\n"
        )
        top += (
            f"From: {self.author}\nTo: {MAILBOX}\nSubject: {_WORDS[kind]}: Contratto\n"
            f"Date: Mon, 17 Jun 2030 15:26:13 +0200\nMessage-ID: <r{self.serial}@pec.example>\nMIME-Version: 1.0\n"
        )
        return self.signed(top, self.content(kind, about), is_opaque=is_opaque)

    def signed(self, top: str, content: bytes, *, is_opaque: bool = False) -> bytes:
        """`content`, a MIME entity, signed below the header lines `top`."""
        options = [pkcs7.PKCS7Options.Binary]
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(self._certificate, self._key, hashes.SHA256())
        if is_opaque:
            signature = builder.sign(serialization.Encoding.DER, options)
            return _crlf(
                f"{top}Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\n"
                "Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(signature).decode()
            )
        signature = builder.sign(serialization.Encoding.DER, [*options, pkcs7.PKCS7Options.DetachedSignature])
        head = f'{top}Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=out\n\n--out\n'
        tail = (
            "\n--out\nContent-Type: application/pkcs7-signature; name=smime.p7s\n"
            f"Content-Transfer-Encoding: base64\n\n{base64.encodebytes(signature).decode()}\n--out--\n"
        )
        return _crlf(head) + content + _crlf(tail)

    def content(self, kind: str, about: About, xml: str | None = None) -> bytes:
        xml = certification(kind, about) if xml is None else xml
        parts = [
            "Content-Type: text/plain; charset=utf-8\n\nRicevuta\n",
            'Content-Type: application/xml; name="daticert.xml"\nContent-Transfer-Encoding: base64\n'
            f'Content-Disposition: inline; filename="daticert.xml"\n\n{base64.encodebytes(xml.encode()).decode()}',
        ]
        if about.returned is not None:
            parts.append(f"Content-Type: message/rfc822; name=postacert.eml\n\n{about.returned}")
        inner = "".join(f"--in\n{part}\n" for part in parts) + "--in--\n"
        return _crlf(f"Content-Type: multipart/mixed; boundary=in\n\n{inner}")


def certification(kind: str, about: About) -> str:
    recipients = "".join(
        f'<destinatari tipo="certificato">{escape(one)}</destinatari>' for one in about.recipients
    )
    delivered = f"<consegna>{escape(about.delivered_to)}</consegna>" if about.delivered_to else ""
    reason = f"<errore-esteso>{escape(about.reason)}</errore-esteso>" if about.reason else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<postacert tipo="{kind}" errore="{about.error}">
  <intestazione><mittente>{MAILBOX}</mittente>{recipients}<risposte>{MAILBOX}</risposte>
    <oggetto>Contratto</oggetto></intestazione>
  <dati><gestore-emittente>Gestore PEC S.p.A.</gestore-emittente>
    <data zona="+0200"><giorno>17/06/2030</giorno><ora>15:26:12</ora></data>
    <identificativo>opec1@pec.example</identificativo><msgid>{escape(about.message_id)}</msgid>
    <ricevuta tipo="completa"/>{delivered}{reason}</dati>
</postacert>
"""


def _crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    begin, end = (now - 3 * _DAY, now + days * _DAY)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
