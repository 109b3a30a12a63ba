import asyncio
import base64
import json
import socket
import ssl
import stat
import sys
import traceback
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipebell.core.errors import SettingsError, Unavailable
from pipebell.kube.client import ApiClient
from pipebell.kube.connection import Connection, connect, kopf_access
from pipebell.kube.credentials import REREAD_AFTER, Plugin, StaticToken, TokenFile


def kubeconfig(server="https://10.0.0.1:6443", cluster=None, user=None, **context):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }


@pytest.fixture
def at(tmp_path):
    """Writes a kubeconfig and gives the environment that names it."""

    def write(document, name="config"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return {"KUBECONFIG": str(path)}

    return write


class Now:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture(scope="session")
def authority():
    """A CA, a server's certificate for `api.example` and a client's, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())

    def certificate(name, public, *, ca=False, host=None):
        issued = datetime.now(UTC)
        names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(issued - timedelta(minutes=1))
            .not_valid_after(issued + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def pem(private):
        return private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    server, person = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    return {
        "ca": certificate("ca", key.public_key(), ca=True),
        "server": certificate("server", server.public_key(), host="api.example"),
        "server_key": pem(server),
        "client": certificate("jane", person.public_key()),
        "client_key": pem(person),
    }


@pytest.fixture
async def tls_server(authority, tmp_path):
    """An API server on TLS that answers with the client certificate's name and the Authorization header."""

    async def who(request):
        peer = request.transport.get_extra_info("peercert") or {}
        name = next((value for part in peer.get("subject", ()) for _, value in part), None)
        return web.json_response({"name": name, "authorization": request.headers.get("Authorization")})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority["ca"].decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # an API server is a Go program, which is not strict
    (tmp_path / "server.pem").write_bytes(authority["server"] + authority["server_key"])
    context.load_cert_chain(tmp_path / "server.pem")
    app = web.Application()
    app.router.add_route("*", "/who", who)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def who(connection):
    """Asked by both ways to the API server, each over a connection of its own."""
    answers = []
    for method, body in (("GET", None), ("PATCH", {})):
        async with ApiClient(connection) as client:
            answers.append(await client.request(method, "/who", body=body))
    assert answers[0] == answers[1]
    return answers[0]


def data(pem):
    return base64.b64encode(pem).decode()


async def test_tls_by_data_with_a_client_certificate(at, authority, tls_server):
    connection = connect(
        at(
            kubeconfig(
                tls_server,
                {"certificate-authority-data": data(authority["ca"]), "tls-server-name": "api.example"},
                {
                    "client-certificate-data": data(authority["client"]),
                    "client-key-data": data(authority["client_key"]),
                },
                namespace="team",
            )
        )
    )
    assert (connection.server, connection.default_namespace) == (tls_server, "team")
    assert await who(connection) == {"name": "jane", "authorization": None}


async def test_tls_by_files_beside_the_kubeconfig_with_a_token(at, authority, tls_server, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority["ca"])
    (tmp_path / "jane.pem").write_bytes(authority["client"])
    (tmp_path / "jane.key").write_bytes(authority["client_key"])
    connection = connect(
        at(
            kubeconfig(
                tls_server,
                {"certificate-authority": "ca.pem", "tls-server-name": "api.example"},
                {"client-certificate": "jane.pem", "client-key": "jane.key", "token": "t0ken"},
            )
        )
    )
    assert await who(connection) == {"name": "jane", "authorization": "Bearer t0ken"}


async def test_a_server_that_is_not_the_expected_one_is_not_talked_to(at, authority, tls_server):
    cluster = {"certificate-authority-data": data(authority["ca"])}
    with pytest.raises(Unavailable, match="Certificate"):
        await who(connect(at(kubeconfig(tls_server, cluster, {"token": "t"}))))
    with pytest.raises(Unavailable, match="Certificate"):
        await who(connect(at(kubeconfig(tls_server, {"tls-server-name": "api.example"}, {"token": "t"}))))
    answer = await who(connect(at(kubeconfig(tls_server, {"insecure-skip-tls-verify": True}, {"token": "t"}))))
    assert answer["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": "Config"}, "no current-context"),
        ({**kubeconfig(), "current-context": "there"}, "no context 'there'; it has: here"),
        ({**kubeconfig(), "clusters": []}, "no cluster 'c'; it has: none"),
        ({**kubeconfig(), "users": None}, "no user 'u'"),
        (kubeconfig(""), "has no server URL"),
        (kubeconfig(user={"auth-provider": {"name": "gcp"}}), "auth-provider, which is not supported"),
        (kubeconfig(user={"token": "t", "as": "admin"}), "with as, which is not supported"),
        (kubeconfig(user={"tokenFile": "missing"}), "cannot read the token file .*missing"),
        (kubeconfig(cluster={"certificate-authority": "missing"}), "certificates cannot be used: No such file"),
        (
            kubeconfig(cluster={"certificate-authority-data": "!"}),
            "certificate-authority-data .* is not base64",
        ),
        (kubeconfig(user={"client-certificate-data": "eA==", "client-key-data": "eA=="}), "cannot be used"),
        ("a: [s3cret", "is not YAML"),
        ("- s3cret", "is not a kubeconfig"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(at, document, words):
    with pytest.raises(SettingsError, match=words) as caught:
        connect(at(document))
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_any_cluster_the_line_says_what_to_set():
    with pytest.raises(SettingsError, match="no cluster: set KUBECONFIG"):
        connect({})
    with pytest.raises(SettingsError, match="KUBECONFIG=/nowhere: there is no such file"):
        connect({"KUBECONFIG": "/nowhere"})


def test_files_are_merged_and_the_first_wins(at):
    first = kubeconfig("https://one:1", user={"token": "one"})
    second = kubeconfig("https://two:2", user={"token": "two"})
    del first["clusters"]
    first["current-context"] = ""
    paths = [at(first, "a/config")["KUBECONFIG"], "/nowhere", at(second, "b/config")["KUBECONFIG"]]
    connection = connect({"KUBECONFIG": ":".join(paths)})
    assert connection.server == "https://two:2"
    assert connection.headers() == {"Authorization": "Bearer one"}


def test_a_token_never_shows(at):
    connection = connect(at(kubeconfig(user={"token": "s3cret"}, cluster={"proxy-url": "http://u:s3cret@p:1"})))
    assert connection.headers() == {"Authorization": "Bearer s3cret"}
    assert "s3cret" not in repr(connection)
    assert "s3cret" not in repr(connection.credential)


async def test_a_proxys_password_reaches_the_proxy_and_no_message():
    asked = []

    async def refuse(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        proxy = f"http://user:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        tls = ssl.create_default_context()
        connection = Connection("https://api.example:6443", tls, "d", StaticToken("t0ken"), proxy=proxy)
        async with ApiClient(connection) as client:
            with pytest.raises(Unavailable, match="407") as caught:
                await client.request("GET", "/version")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=" in asked[0]


async def test_a_token_that_no_header_can_hold_is_in_no_message(api):
    for token in ("TOP\nSECRET", "TÖPSECRET"):
        async with ApiClient(Connection(api.url, None, "d", StaticToken(token))) as client:
            with pytest.raises(SettingsError, match="line break") as caught:
                await client.request("GET", "/version")
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def pod(tmp_path, authority):
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("pod-token\n")
    (folder / "ca.crt").write_bytes(authority["ca"])
    (folder / "namespace").write_text("pipebell-system")
    return folder


def test_in_a_pod(pod):
    connection = connect({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, pod)
    assert (connection.server, connection.default_namespace) == ("https://10.0.0.1:6443", "pipebell-system")
    assert connection.headers() == {"Authorization": "Bearer pod-token"}
    assert connection.ssl_context is not None
    assert connection.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert connect({"KUBERNETES_SERVICE_HOST": "fd00::1"}, pod).server == "https://[fd00::1]:443"


def test_in_a_pod_without_its_account(pod):
    (pod / "ca.crt").unlink()
    with pytest.raises(SettingsError, match="automountServiceAccountToken"):
        connect({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, pod)


def test_a_token_file_is_read_again_after_a_minute(tmp_path):
    path, now = tmp_path / "token", Now()
    path.write_text("one")
    credential = TokenFile(path, now)
    path.write_text("two")
    now.time += REREAD_AFTER - 0.1
    assert credential.token() == "one"
    now.time += 0.2
    assert credential.token() == "two"
    path.unlink()
    now.time += REREAD_AFTER
    assert credential.token() == "two", "an old token is better than none while the file is away"
    path.write_text("")
    now.time += REREAD_AFTER
    assert credential.token() == "two"


async def test_a_refused_token_is_read_again_at_once(api, tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    connection = Connection(api.url, None, "default", TokenFile(path))
    path.write_text("two")
    api.fails(401)
    api.answers({"in": True})
    async with ApiClient(connection) as client:
        assert await client.request("POST", "/x", body={"a": 1}) == {"in": True}
        api.fails(401, "Unauthorized")
        with pytest.raises(Unavailable, match="401 Unauthorized"):
            await client.request("GET", "/x")
    assert [(asked.headers["Authorization"], asked.body) for asked in api.asked] == [
        ("Bearer one", {"a": 1}),
        ("Bearer two", {"a": 1}),
        ("Bearer two", None),
    ]


async def test_kopfs_session_carries_the_current_token(api, tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    access = kopf_access(Connection(api.url, None, "team", TokenFile(path)))
    path.write_text("two")
    assert (access.server, access.default_namespace) == (api.url, "team")
    assert access.aiohttp_session.connector is not None
    assert access.aiohttp_session.connector.limit == 0
    api.fails(401)
    api.answers({})
    async with access.aiohttp_session as session, session.get(f"{api.url}/x") as response:
        assert response.status == 200
    assert [asked.headers["Authorization"] for asked in api.asked] == ["Bearer one", "Bearer two"]


async def test_a_server_that_vanishes_without_a_word_is_noticed(api):
    """A watch may be quiet for minutes: only probes of the connection itself tell silence from absence."""

    async def quiet(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        await asyncio.sleep(30)
        return answer

    api.script.append(quiet)
    session = Connection(api.url, None, "d", StaticToken("t")).session()
    async with session, session.get(f"{api.url}/x") as response:
        sock = response.connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


async def test_a_redirect_elsewhere_gets_no_token(api, aiohttp_elsewhere):
    url, seen = aiohttp_elsewhere
    api.answers({}, 307, Location=url)
    session = Connection(api.url, None, "d", StaticToken("t")).session()
    async with session, session.get(f"{api.url}/x") as response:
        assert response.status == 200
    assert seen == [None]


@pytest.fixture
async def aiohttp_elsewhere():
    seen = []

    async def handle(request):
        seen.append(request.headers.get("Authorization"))
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", seen
    await runner.cleanup()


async def test_a_plugin_is_run_again_when_its_token_is_refused_but_not_for_each_request():
    now, given = Now(), iter(["two", "three"])
    credential = Plugin(lambda: next(given), first="one", now=now)
    assert credential.token() == "one"
    assert await credential.renew() is False
    now.time += 6
    assert await credential.renew() is True
    assert credential.token() == "two"

    def fails():
        raise SettingsError("broken")

    credential = Plugin(fails, first="one", now=now)
    now.time += 6
    assert await credential.renew() is False
    assert credential.token() == "one"


def plugin(tmp_path, body):
    script = tmp_path / "plugin.py"
    script.write_text(f"#!{sys.executable}\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never"}
    }


def test_an_exec_plugin_gives_the_token(at, tmp_path):
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-the-plugin"},
    }
    user = plugin(tmp_path, f"print({json.dumps(json.dumps(answer))})")
    assert connect(at(kubeconfig(user=user))).headers() == {"Authorization": "Bearer from-the-plugin"}


def test_an_exec_plugin_that_fails_is_told_in_one_line(at, tmp_path):
    user = plugin(tmp_path, "import sys; sys.exit('s3cret')")
    with pytest.raises(SettingsError, match="exec plugin") as caught:
        connect(at(kubeconfig(user=user)))
    assert "s3cret" not in str(caught.value)
