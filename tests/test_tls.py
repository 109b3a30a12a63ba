"""Private CAs as they are work on every Python; an unknown one is refused; a CA file that is none says what it is."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.test_certificates import handshake

from pipebell.certificates import Authority
from pipebell.providers import tls as providers_tls
from pipebell.tls import check_ca_file, client_context


@pytest.fixture(scope="module")
def bare():
    """As many clusters' own: without key identifiers, which strict verification refuses."""
    return Authority("bare", identifiers=False)


@pytest.fixture
def ca_file(tmp_path, bare):
    path = tmp_path / "ca.pem"
    path.write_bytes(bare.certificate)
    return path


def test_the_strict_refuse_such_a_ca(bare, ca_file, tmp_path):
    strict = ssl.create_default_context(cafile=ca_file)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)key identifier"):
        handshake(strict, bare.server(), "localhost", tmp_path)


@pytest.mark.parametrize("kind", ["cluster", "SMTP and webhooks"])
def test_a_ca_without_identifiers_is_accepted(bare, ca_file, tmp_path, kind):
    ours = client_context(cafile=ca_file) if kind == "cluster" else providers_tls.client_context(str(ca_file))
    assert not ours.verify_flags & ssl.VERIFY_X509_STRICT
    handshake(ours, bare.server(), "localhost", tmp_path)


@pytest.mark.parametrize("identifiers", [True, False])
@pytest.mark.parametrize("kind", ["cluster", "SMTP and webhooks"])
def test_an_unknown_ca_is_refused_whatever_it_calls_itself(ca_file, tmp_path, kind, identifiers):
    stranger = Authority("bare", identifiers=identifiers)
    ours = client_context(cafile=ca_file) if kind == "cluster" else providers_tls.client_context(str(ca_file))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ours, stranger.server(), "localhost", tmp_path)


def test_another_name_is_refused(bare, ca_file, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(client_context(cafile=ca_file), bare.server(["a.example"]), "b.example", tmp_path)


def der(authority):
    return x509.load_pem_x509_certificate(authority.certificate).public_bytes(Encoding.DER)


def text_of(kind, authority):
    pem = authority.certificate
    return {
        "empty": b"",
        "blank": b" \n\n",
        "DER": der(authority),
        "a key": authority.server().key,
        "cut in its middle": pem[: len(pem) // 2],
        "cut before its end": pem[:-10],
        "cut inside, with both lines": b"\n".join([*pem.splitlines()[:3], pem.splitlines()[-1], b""]),
        "second of two cut": pem + pem[:100],
        "first of two cut": pem[:100] + b"\n" + pem,
        "second of two damaged": pem + pem.replace(b"M", b"N", 3),
        "no certificate": b"hello\n",
        "HTML": b"<html><body>Sign in</body></html>",
        "UTF-16": pem.decode().encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbf" + pem,
        "a request": pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "is empty"),
        ("blank", "is empty"),
        ("DER", "is DER, not PEM; convert it by `openssl x509 -inform der"),
        ("a key", "holds a key and no certificate"),
        ("cut in its middle", "is cut short"),
        ("cut before its end", "is cut short"),
        ("cut inside, with both lines", "number 1.*damaged or cut short"),
        ("second of two cut", "is cut short"),
        ("first of two cut", "is cut short"),
        ("second of two damaged", "number 2.*damaged"),
        ("no certificate", "holds no certificate"),
        ("HTML", "holds no certificate"),
        ("UTF-16", "is UTF-16"),
        ("byte order mark", "byte order mark"),
        ("a request", "holds no certificate"),
    ],
)
def test_a_ca_file_that_is_none_says_what_it_is(tmp_path, bare, kind, said):
    path = tmp_path / "ca.pem"
    path.write_bytes(text_of(kind, bare))
    with pytest.raises(ValueError, match=said) as caught:
        check_ca_file(path)
    assert "\n" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_a_ca_file_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        check_ca_file(tmp_path / "none")
    with pytest.raises(ValueError, match=r"(?i)cannot be read: is a directory"):
        check_ca_file(tmp_path)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_what_openssl_reads_is_taken(tmp_path, bare, ends):
    path = tmp_path / "ca.pem"
    second = Authority("second").certificate
    path.write_bytes((b"# our own\n" + bare.certificate + b"subject=CN=second\n" + second).replace(b"\n", ends))
    check_ca_file(path)
    assert len(client_context(cafile=path).get_ca_certs()) == 2
