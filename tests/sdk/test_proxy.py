"""Proxies: which requests go through one, and that its password shows nowhere."""

import logging
import socket
import threading
from urllib.parse import urlsplit

import pytest

from pipebell.core.errors import SettingsError, Unavailable
from pipebell.sdk import proxy
from pipebell.sdk.access import Endpoint, find
from pipebell.sdk.api import Api
from pipebell.sdk.factory import make_service

HTTPS = "https://api.prod.example.com:6443"


@pytest.mark.parametrize(
    ("url", "no_proxy", "used"),
    [
        (HTTPS, "", True),
        (HTTPS, "other.com, 10.0.0.0/8,,", True),
        (HTTPS, "*", False),
        (HTTPS, "api.prod.example.com", False),
        (HTTPS, "foo, EXAMPLE.com ", False),
        (HTTPS, ".example.com", False),
        (HTTPS, "*.example.com", False),
        (HTTPS, "ample.com", True),
        (HTTPS, "example.com:6443", False),
        (HTTPS, "example.com:443", True),
        ("https://example.com", "example.com:443", False),
        ("https://example.com", ".example.com", True),
        ("https://10.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.3", False),
        ("https://10.1.2.3", "10.1.2.4/32, nonsense/99", True),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", False),
        ("https://10.1.2.3:6443", "2.3", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://[fd00::1]:6443", "fd00::1", False),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", False),
        ("https://localhost:6443", "", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://[::1]:6443", "", False),
    ],
)
def test_no_proxy_means_what_it_means_to_kubectl(url, no_proxy, used):
    for names in (("HTTPS_PROXY", "NO_PROXY"), ("https_proxy", "no_proxy")):
        found = proxy.find(urlsplit(url), dict(zip(names, ("http://p:3128", no_proxy), strict=True)))
        assert found == (proxy.Proxy("p", 3128) if used else None)


def test_the_scheme_chooses_the_variable():
    environ = {"HTTP_PROXY": "plain:1", "HTTPS_PROXY": "http://tls:2"}
    assert proxy.find(urlsplit("http://a"), environ) == proxy.Proxy("plain", 1)
    assert proxy.find(urlsplit("https://a"), environ) == proxy.Proxy("tls", 2)


@pytest.mark.parametrize(
    "url", ["socks5://u:s3cret@h:1", "https://u:s3cret@h", "http://u:s3cret@h:port", "http://", "::"]
)
def test_a_proxy_that_cannot_be_used_is_not_quoted(url):
    with pytest.raises(SettingsError, match="no URL such as") as caught:
        proxy.parse(url)
    assert "s3cret" not in str(caught.value)


def test_the_kubeconfigs_own_goes_first(tmp_path):
    path = tmp_path / "config"
    path.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://api.example', proxy-url: 'http://own:1'}}]\n"
    )
    environ = {"HTTPS_PROXY": "http://other:2", "NO_PROXY": "*"}
    assert find(str(path), environ=environ).proxy == proxy.Proxy("own", 1)
    path.write_text(path.read_text().replace(", proxy-url: 'http://own:1'", ""))
    assert find(str(path), environ=environ).proxy is None
    assert find(str(path), environ=environ | {"NO_PROXY": ""}).proxy == proxy.Proxy("other", 2)


@pytest.fixture
def refusing():
    """A proxy that wants another password; remembers what it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(65_536).decode())
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], asked
    listener.close()


def test_the_password_is_sent_and_shown_to_nobody(refusing):
    port, asked = refusing
    endpoint = Endpoint(HTTPS, "team", lambda: None, proxy=proxy.parse(f"http://us%65r:s3cret@127.0.0.1:{port}"))
    api = Api(lambda: endpoint)
    with pytest.raises(Unavailable, match=rf"407 .* through the proxy 127\.0\.0\.1:{port}") as caught:
        api.request("GET", "/version", timeout=5)
    assert "s3cret" not in f"{caught.value}{endpoint!r}{endpoint.proxy!r}"
    assert asked[0].startswith("CONNECT api.prod.example.com:6443 ")
    assert "Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=" in asked[0]


def test_nor_is_it_in_the_log(refusing, tmp_path, monkeypatch, caplog):
    port, _ = refusing
    path = tmp_path / "config"
    path.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://api.example'}}]\n"
    )
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3cret@127.0.0.1:{port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with caplog.at_level(logging.DEBUG):
        receipt = make_service(kubeconfig=str(path), spool=str(tmp_path / "spool")).sync.notify_pipeline_failure("acme")
    assert "407" in receipt.reason
    assert "s3cret" not in f"{receipt}{caplog.text}"
