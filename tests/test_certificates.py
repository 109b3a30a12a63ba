import ssl

import pytest
from cryptography import x509

from pipebell.certificates import Authority, Pair, signing_keys, write_private


@pytest.fixture(scope="module")
def authority():
    return Authority("test")


def shake_hands(authority, pair: Pair, name, folder, *, client: Pair | None = None):
    """A whole handshake, as strict as Python can be."""
    ours = ssl.create_default_context(cadata=authority.certificate.decode())
    ours.verify_flags |= ssl.VERIFY_X509_STRICT
    return handshake(ours, pair, name, folder, authority=authority, client=client)


def handshake(ours, pair: Pair, name, folder, *, authority=None, client: Pair | None = None):
    """A whole handshake in memory, with what a client's context trusts."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*pair.write(folder, "server"))
    if client:
        server.load_verify_locations(cadata=authority.certificate.decode())
        server.verify_mode = ssl.CERT_REQUIRED
        server.verify_flags |= ssl.VERIFY_X509_STRICT
        ours.load_cert_chain(*client.write(folder, "client"))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        ours.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1].getpeercert(binary_form=False)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_servers_certificate_passes_strict_verification(authority, tmp_path, name):
    shake_hands(authority, authority.server(), name, tmp_path)


def test_it_is_for_its_names_only(authority, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(authority, authority.server(["a.example.com"]), "b.example.com", tmp_path)


def test_another_authority_is_not_trusted(authority, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self.signed|signature"):
        shake_hands(authority, Authority("test").server(), "localhost", tmp_path)


def test_a_client_is_known_by_user_and_groups(authority, tmp_path):
    client = authority.client("me", ["one", "two"])
    subject = x509.load_pem_x509_certificate(client.certificate).subject.rfc4514_string()
    assert subject == "CN=me,O=two,O=one"
    peer = shake_hands(authority, authority.server(), "localhost", tmp_path, client=client)
    assert (("commonName", "me"),) in peer["subject"]


def test_a_clients_certificate_is_no_servers(authority, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unsuitable|purpose"):
        shake_hands(authority, authority.client("localhost"), "localhost", tmp_path)


def test_keys_are_for_their_owner_alone_even_where_another_file_was(tmp_path):
    private, public = signing_keys()
    assert b"PRIVATE KEY" in private
    assert b"PUBLIC KEY" in public
    path = tmp_path / "key"
    path.write_text("for everybody")
    path.chmod(0o644)
    write_private(path, private)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == private
    assert list(tmp_path.iterdir()) == [path]
