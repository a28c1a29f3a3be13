"""Logs, exec, and limits that are real: memory, a volume's size and a container's storage."""

import pytest

from cluster_checks.bench import Bench, eventually, pod

FILL = "dd if=/dev/zero of={}/file bs=1M count=80 && sleep 100000"


def test_logs_and_exec_work_on_every_node(bench: Bench) -> None:
    for index, node in enumerate(bench.nodes):
        bench.apply(pod(f"pod{index}", node, ["sh", "-c", "echo said; sleep 100000"]))
    for index, node in enumerate(bench.nodes):
        bench.ready(f"pod{index}")
        assert bench.get("pod", f"pod{index}")["spec"]["nodeName"] == node
        assert bench.kubectl("logs", f"pod{index}") == "said\n"
        assert bench.shell(f"pod{index}", "id -u").strip() == "10001"


@pytest.mark.requirement("H20")
def test_a_pod_over_its_memory_is_killed_alone(bench: Bench) -> None:
    eats = ["sh", "-c", "x=a; while true; do x=$x$x; done"]
    bench.apply(pod("eater", command=eats, limits={"memory": "64Mi"}), pod("calm", limits={"memory": "64Mi"}))
    eventually("the end of the eater", lambda: bench.phase("eater") == "Failed", lambda: bench.get("pod", "eater"))
    state = bench.get("pod", "eater")["status"]["containerStatuses"][0]["state"]
    assert state["terminated"]["reason"] == "OOMKilled"
    bench.ready("calm")


@pytest.mark.parametrize(
    ("folder", "limits", "volumes"),
    [
        pytest.param("/work", {}, [{"name": "work", "emptyDir": {"sizeLimit": "20Mi"}}], id="size of an emptyDir"),
        pytest.param("/tmp", {"ephemeral-storage": "30Mi"}, [], id="storage of a container"),
    ],
)
@pytest.mark.requirement("H20")
def test_a_pod_over_its_storage_is_evicted(
    bench: Bench, folder: str, limits: dict[str, str], volumes: list[dict[str, object]]
) -> None:
    mounts = [{"name": volume["name"], "mountPath": folder} for volume in volumes]
    command = ["sh", "-c", FILL.format(folder)]
    bench.apply(pod("filler", command=command, limits=limits, volumes=volumes, mounts=mounts))
    eventually("the eviction", lambda: bench.phase("filler") == "Failed", lambda: bench.get("pod", "filler"))
    assert bench.get("pod", "filler")["status"]["reason"] == "Evicted"
