"""Where organisations may not have the operator connect to, by a list of our own, the same on every Python."""

import ipaddress
from dataclasses import replace

import pytest

from pipebell.core.destinations.alertmanager import ALERTMANAGER
from pipebell.core.destinations.base import Hosts
from pipebell.core.destinations.mattermost import MATTERMOST
from pipebell.core.destinations.slack import SLACK
from pipebell.core.destinations.slack import SLACK as SLACK_KIND
from pipebell.core.hosts import HostPolicy

NOT_PUBLIC = [
    # IPv4: special-purpose networks, each by its first and last address
    *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1"),
    *("127.255.255.254", "169.254.0.0", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255"),
    *("192.0.2.1", "192.88.99.0", "192.88.99.255", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255"),
    *("198.51.100.7", "203.0.113.7", "224.0.0.251", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    # clouds' own
    *("169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"),
    # IPv6
    *("::", "::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "fec0:0:0:ffff::1", "feff::1", "fc00::1"),
    *("fdff:ffff::1", "ff02::1", "ff0e::1", "100::1", "100:0:0:1::1", "5f00::1", "3fff::1", "3fff:fff:ffff::1"),
    *("2001::1", "2001:2::1", "2001:10::1", "2001:1f::1", "2001:20::1", "2001:30::1", "2001:1ff:ffff::1"),
    *("2001:db8::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "4000::1", "e000::1", "1fff::1"),
    # IPv4 within IPv6
    *("::127.0.0.1", "::10.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:127.0.0.1", "::ffff:168.63.129.16"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:fffe::7f00:1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"),
]
PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1"),
    *("168.63.129.15", "168.63.129.17", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.88.98.1", "192.88.100.1"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:4860:4860::8888", "2606:4700:4700::1111"),
    *("2001:200::1", "2a00:1450::1", "2003::1", "3ffe::1", "::ffff:8.8.8.8", "64:ff9b::808:808"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_refused(address):
    assert not HostPolicy().admits_address("mail.example", address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_admitted(address):
    assert HostPolicy().admits_address("mail.example", address)


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_is_admitted_that_this_python_knows_to_be_private(version):
    networks = {4: ipaddress._IPv4Constants, 6: ipaddress._IPv6Constants}[version]._private_networks
    for network in networks:
        if str(network.network_address) == "::ffff:0.0.0.0" or network == ipaddress.ip_network("::ffff:0:0/96"):
            continue  # judged by the IPv4 address within
        for address in (network.network_address, network.broadcast_address):
            assert not HostPolicy().admits_address("mail.example", str(address)), network


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("10.1.2.3", "64:ff9b::a01:203"),
        ("fd00::/8", "fd00::1"),
        ("64:ff9b:1::/48", "64:ff9b:1::a01:203"),
        ("::1", "::1"),
        ("Mail.Internal.", "10.9.9.9"),
    ],
)
def test_what_the_platform_team_lists_is_admitted(entry, address):
    assert HostPolicy(private_hosts=(entry,)).admits_address("mail.internal", address)
    assert not HostPolicy(private_hosts=(entry,)).admits_address("mail.other", "192.168.0.1")


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("https://hooks.slack.com/services/x", True),
        ("https://hooks.slack.com:443/x", True),
        ("https://HOOKS.slack.com./x", True),
        ("https://hooks.slack.com:4430/x", False),
        ("https://hooks.slack.com:0/x", False),
        ("https://hooks.slack.com:99999/x", False),
        ("http://hooks.slack.com/x", False),
        ("https://hooks.slack.com.evil.example/x", False),
        ("https://hooks.slack.com@evil.example/x", False),
        ("https://u:p@hooks.slack.com/x", False),
        ("https://[::1]/x", False),
        ("https://hooks.slack.com[::1]/x", False),
    ],
)
def test_webhooks_are_slacks_own(url, admitted):
    assert HostPolicy().admits_url(SLACK, url) is admitted


@pytest.mark.parametrize(
    ("entry", "host", "address", "listed"),
    [
        ("alertmanager.monitoring.svc", "Alertmanager.monitoring.svc.", "10.1.2.3", True),
        ("10.0.0.0/8", "alertmanager.monitoring.svc", "10.1.2.3", True),
        ("10.0.0.0/8", "alertmanager.monitoring.svc", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "alertmanager.example.com", "8.8.8.8", False),
        ("other.svc", "alertmanager.monitoring.svc", "10.1.2.3", False),
    ],
)
def test_what_the_platform_team_listed(entry, host, address, listed):
    assert HostPolicy(private_hosts=(entry,)).lists_address(host, address) is listed


def test_only_a_kind_that_says_so_goes_without_tls():
    policy = HostPolicy({"slack": ("am",), "mattermost": ("am",)})
    assert policy.admits_url(ALERTMANAGER, "http://am:9093/api/v2/alerts")
    assert policy.admits_url(MATTERMOST, "https://am/hooks/x")
    for kind in (SLACK, MATTERMOST):
        assert not policy.admits_url(kind, "http://am/hooks/x")
    for url in ("ftp://am/", "http://me@am/", "http:///x", "//am/x"):
        assert not policy.admits_url(ALERTMANAGER, url)


def test_a_list_of_hosts_counts_ports_of_its_scheme():
    policy = HostPolicy({"alertmanager": ("am:80", "bm:443")})
    assert policy.admits_url(ALERTMANAGER, "http://am/x")
    assert policy.admits_url(ALERTMANAGER, "https://bm/x")
    assert not policy.admits_url(ALERTMANAGER, "https://am/x")
    assert not policy.admits_url(ALERTMANAGER, "http://bm/x")


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("https://hooks.slack.com/services/T/B/x", True),
        ("https://hooks.slack-gov.com/services/T/B/x", True),
        ("https://HOOKS.slack.com./x", True),
        ("https://hooks.slack.com:8443/x", False),
        ("https://hooks.slack.com.evil.example/x", False),
        ("https://evil.example/hooks.slack.com", False),
        ("https://hooks.slack.com@evil.example/x", False),
        ("http://hooks.slack.com/x", False),
        ("https://localhost:8443/x", True),
        ("https://localhost/x", False),
    ],
)
def test_webhooks_go_to_listed_hosts_only(url, admitted):
    assert HostPolicy({"slack": ("localhost:8443",)}).admits_url(SLACK_KIND, url) is admitted


@pytest.mark.parametrize(
    ("listed", "url", "admitted"),
    [
        ((), "https://tenant.example.com/x", True),
        ((), "https://example.com/x", False),
        ((), "https://a.b.example.com:443/x", True),
        ((), "https://tenant.example.com:8443/x", False),
        (("[::1]:8443",), "https://[::1]:8443/x", True),
        (("[::1]",), "https://[::1]:9/x", True),
        (("::1",), "https://[::1]:9/x", True),
    ],
)
def test_hosts_below_a_suffix_and_by_address(listed, url, admitted):
    kind = replace(SLACK_KIND, hosts=Hosts(suffixes=(".example.com",)))
    assert HostPolicy({"slack": listed, "email": ("example.com",)}).admits_url(kind, url) is admitted


@pytest.mark.parametrize(("listed", "admitted"), [((), True), (("other.example",), False), (("any.example",), True)])
def test_a_kind_that_goes_anywhere_goes_where_the_platform_says_once_it_says_anything(listed, admitted):
    kind = replace(SLACK_KIND, hosts=Hosts(anywhere=True))
    assert HostPolicy({"slack": listed}).admits_url(kind, "https://any.example/x") is admitted


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "169.254.169.254",
    "::1",
    "fd00::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "224.0.0.1",
    "100.64.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_listed(address):
    assert not HostPolicy().admits_address("smtp.example.com", address)
    assert HostPolicy(private_hosts=("smtp.example.com",)).admits_address("SMTP.example.com", address)


def test_public_addresses_and_listed_networks_are_admitted():
    assert HostPolicy().admits_address("smtp.example.com", "93.184.216.34")
    assert HostPolicy(private_hosts=("10.0.0.0/8",)).admits_address("x", "10.9.9.9")
    assert not HostPolicy(private_hosts=("10.0.0.0/8",)).admits_address("x", "192.168.1.1")
