"""A certificate authority of our own, with good and bad server certificates."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a server shows: a context that has its certificate, and the certificate as PEM."""

    context: ssl.SSLContext
    pem: str


class Authority:
    """`pem` is its certificate; `present` and `server_context` issue one for a server and load it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Test CA")
        builder = _builder(self._name, self._name, self._key.public_key(), days=2)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = _pem(self.certificate)

    def server_context(self, directory: Path, *, host: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
        """`days` < 0 makes an expired certificate."""
        return self.present(directory, host=host, days=days).context

    def present(self, directory: Path, *, host: str = "127.0.0.1", days: int = 1) -> Presented:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(host), self._name, key.public_key(), days=days)
        builder = builder.add_extension(_alternative(host), critical=False)
        return _presented(directory, builder.sign(self._key, hashes.SHA256()), key)

    @staticmethod
    def self_signed(directory: Path, *, host: str = "127.0.0.1", days: int = 1) -> Presented:
        """A certificate that vouches for itself, as mail servers make them at installation."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(host), _name(host), key.public_key(), days=days)
        builder = builder.add_extension(_alternative(host), critical=False)
        return _presented(directory, builder.sign(key, hashes.SHA256()), key)


def _presented(directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Presented:
    file = directory / "server.pem"
    file.write_bytes(
        _pem(certificate).encode()
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return Presented(context, _pem(certificate))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _alternative(host: str) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    except ValueError:
        return x509.SubjectAlternativeName([x509.DNSName(host)])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * _DAY)
        .not_valid_after(now + days * _DAY)
    )
