"""What the components are told: the values that matter, and no file outside the cluster's own folder."""

import json
from pathlib import Path

import pytest

from cluster import paths
from cluster.errors import ClusterError
from cluster.local import archives, cgroups, control_plane, images, node, objects, settings
from cluster.local.settings import Settings

PROGRAMS = {name: Path("/programs") / name for name in ("kubernetes", "etcd", "calico", "pause")}
MOUNTS_V1 = """proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
MOUNTS_V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings with a state folder of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return settings.load()


def test_the_control_plane_starts_in_the_order_of_need(own: Settings) -> None:
    commands = control_plane.commands(own, PROGRAMS)
    assert list(commands) == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    assert "--authorization-mode=Node,RBAC" in commands["kube-apiserver"]
    assert f"--audit-log-path={own.audit_log}" in commands["kube-apiserver"]


def test_every_file_of_a_component_is_below_its_own_folder(own: Settings) -> None:
    given = [word.partition("=")[2] for words in control_plane.commands(own, PROGRAMS).values() for word in words[1:]]
    files = [value for value in given if value.startswith("/")]
    assert files
    assert all(value.startswith(str(own.state)) for value in files)


def test_the_audit_log_has_writes_only() -> None:
    first, second = control_plane.AUDIT_POLICY["rules"]
    assert first == {"level": "None", "verbs": ["get", "list", "watch"]}
    assert second == {"level": "Metadata"}


def test_the_kubelets_share_no_path_and_no_group(own: Settings) -> None:
    one, two = (node.kubelet_config(own, item) for item in own.nodes)
    for key in ("cgroupRoot", "podLogsDir", "volumePluginDir", "resolvConf", "address", "tlsCertFile"):
        assert one[key] != two[key]


def test_images_are_never_collected(own: Settings) -> None:
    assert node.kubelet_config(own, own.nodes[0])["imageGCHighThresholdPercent"] == 100


def test_oom_scores_are_restricted_only_where_they_have_to_be(own: Settings) -> None:
    assert "restrict_oom_score_adj = true" in node.containerd_config(own, own.nodes[0], may_lower_oom_score=False)
    assert "restrict_oom_score_adj = false" in node.containerd_config(own, own.nodes[0], may_lower_oom_score=True)


@pytest.mark.parametrize(("mask", "has"), [("0000000001000000", True), ("000001fffeffffff", False)])
def test_capabilities_are_read_from_the_mask(mask: str, has: bool) -> None:
    assert node.has_capability(node.CAP_SYS_RESOURCE, f"CapPrm:\t0\nCapEff:\t{mask}\nCapBnd:\t0\n") is has


def test_nodes_are_made_with_the_range_that_is_routed(own: Settings) -> None:
    made = [json.loads(text) for text in objects.nodes(own)]
    assert [item["spec"]["podCIDR"] for item in made] == ["10.245.0.0/24", "10.245.1.0/24"]
    assert made[1]["metadata"]["annotations"] == {"projectcalico.org/IPv4Address": "10.98.1.2/24"}


def test_only_the_two_roles_of_calico_are_taken() -> None:
    roles = "\n---\n".join(
        f"# Source\nkind: ClusterRole\napiVersion: rbac.authorization.k8s.io/v1\nmetadata:\n  name: {name}\nrules: []"
        for name in ("calico-kube-controllers", "calico-node", "calico-cni-plugin")
    )
    taken = objects.calico_access(f"kind: DaemonSet\nmetadata:\n  name: calico-node\n---\n{roles}\n")
    assert len(taken) == 4
    assert "kube-controllers" not in "".join(taken)
    with pytest.raises(ClusterError, match="calico-cni-plugin"):
        objects.calico_access("kind: DaemonSet\n")


def test_manifests_have_no_hole_left(own: Settings) -> None:
    for name in ("dns.yaml", "storage.yaml", "network.yaml"):
        assert "$node" not in objects.filled(name, own)
    assert str(own.nodes[1].folder / "volumes") in objects.filled("storage.yaml", own)


def test_cgroup_versions_are_told_apart() -> None:
    assert cgroups.version(MOUNTS_V1) == 1
    assert cgroups.version(MOUNTS_V2) == 2
    assert list(cgroups.mounted("cgroup2", MOUNTS_V2)) == [Path("/sys/fs/cgroup")]


def test_version_1_groups_get_processors_and_memory_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "cpuset"
    (root / "ours").mkdir(parents=True)
    for folder, text in ((root, "0-3"), (root / "ours", "")):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text(text)
    memory = tmp_path / "memory"
    memory.mkdir()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup {root} cgroup rw,cpuset 0 0\ncgroup {memory} cgroup rw,memory 0 0\n")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    cgroups.create("ours")
    assert (root / "ours" / "cpuset.cpus").read_text() == "0-3"
    assert (memory / "ours").is_dir()
    assert cgroups.missing_controllers() == ["cpu", "cpuacct", "devices", "freezer", "blkio", "pids"]


def test_version_2_groups_are_handed_their_controllers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpuset cpu io memory\n")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    cgroups.create("ours")
    assert (root / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory +pids"
    assert (root / "ours" / "cgroup.subtree_control").exists()
    assert cgroups.create_tracking("ours/system") == root / "ours" / "system" / "cgroup.procs"
    assert cgroups.missing_controllers() == ["pids"]


def test_an_image_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    image = archives.Image("example.org/one:dev", {"/bin/one": program}, {"/bin/two": "one"}, ("/bin/one",))
    first = archives.inspect(archives.write(image, tmp_path / "first.tar"))
    second = archives.inspect(archives.write(image, tmp_path / "second.tar"))
    assert first.digest == second.digest
    assert first.names == ("example.org/one:dev",)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ClusterError, match="not a docker or OCI image archive"):
        archives.inspect(tmp_path / "text")
    with pytest.raises(ClusterError, match="no such image archive"):
        archives.inspect(tmp_path / "none")


def test_a_static_program_is_told_from_a_dynamic_one() -> None:
    assert images.is_static(b"\x7fELF" + b"\0" * 64)
    assert not images.is_static(b"\x7fELF\0\0/lib64/ld-linux-x86-64.so.2\0")
    assert not images.is_static(b"#!/bin/sh\n")


def test_state_and_cache_follow_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("XDG_STATE_HOME", "/here")
    assert paths.cache_dir() == Path("/elsewhere/agentsessions")
    assert paths.state_dir() == Path("/here/agentsessions/cluster")
