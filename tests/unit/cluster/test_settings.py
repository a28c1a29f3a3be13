"""Names and addresses: sound by default, refused with a reason when they cannot work."""

import json
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.local import network, settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables of the caller."""
    for name in (settings.NAME_VARIABLE, settings.LINK_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_interface_names_fit_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().interface == "agentsessions0"
    monkeypatch.setenv(settings.NAME_VARIABLE, "a" * 14)
    assert len(settings.load().interface) == 15


@pytest.mark.parametrize("name", ["A", "1a", "a" * 15, "a/b", "a b"])
def test_bad_names_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.NAME_VARIABLE, name)
    with pytest.raises(ClusterError, match=settings.NAME_VARIABLE):
        settings.load()


@pytest.mark.parametrize("link", ["10.98.0.0", "10.98.0.1/24", "fd00::/64", "x", "10.245.3.0/24", "10.98.1.0/24"])
def test_bad_links_are_refused(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.LINK_VARIABLE, link)
    with pytest.raises(ClusterError, match=settings.LINK_VARIABLE):
        settings.load()


def test_two_clusters_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = settings.load()
    monkeypatch.setenv(settings.NAME_VARIABLE, "two")
    two = settings.load()
    assert one.state != two.state
    assert one.interface != two.interface
    assert one.control_group != two.control_group
    assert not {node.namespace for node in one.nodes} & {node.namespace for node in two.nodes}


def addresses(name: str, address: str) -> str:
    """What `ip -j addr` says about one interface."""
    return json.dumps([{"ifname": name, "addr_info": [{"family": "inet", "local": address, "prefixlen": 24}]}])


def test_a_range_in_use_is_found() -> None:
    own = settings.load()
    assert network.conflicts(own, addresses("eth7", "10.98.0.9"), "[]") == ["eth7 has 10.98.0.9"]
    routes = json.dumps([{"dst": "default", "dev": "eth0"}, {"dst": "10.98.0.0/16", "dev": "tun0"}])
    assert network.conflicts(own, "[]", routes) == ["a route to 10.98.0.0/16 by tun0"]


def test_our_own_link_is_no_conflict() -> None:
    own = settings.load()
    routes = json.dumps([{"dst": "10.98.0.0/24", "dev": own.interface}, {"dst": "192.0.2.0/24", "dev": "eth0"}])
    assert network.conflicts(own, addresses(own.interface, "10.98.0.1"), routes) == []


def test_nothing_leads_out() -> None:
    lines = [" ".join(command) for command in network.commands(settings.load())]
    assert not [line for line in lines if "default" in line and " route " in line]
    assert any("rule add from 10.245.0.0/16 to 10.98.0.1/32 prohibit" in line for line in lines)
    assert all("net.ipv6.conf.all.disable_ipv6=1" in line for line in lines if "sysctl" in line)
