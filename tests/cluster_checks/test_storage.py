"""A claim without a class gets a volume on the node of its first pod, and a pod that is not root can write to it."""

from cluster_checks.bench import Bench, eventually, pod

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "work"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
}
VOLUMES = [{"name": "work", "persistentVolumeClaim": {"claimName": "work"}}]
MOUNTS = [{"name": "work", "mountPath": "/work", "subPath": "inner"}]


def test_a_claim_is_provisioned_and_kept_from_pod_to_pod(bench: Bench) -> None:
    bench.apply(CLAIM, pod("first", volumes=VOLUMES, mounts=MOUNTS))
    bench.ready("first")
    assert bench.shell("first", "echo kept > /work/file && stat -c %u:%g /work/file").strip() == "10001:10001"
    node = bench.get("pod", "first")["spec"]["nodeName"]
    bench.kubectl("delete", "pod", "first")

    bench.apply(pod("second", volumes=VOLUMES, mounts=MOUNTS))
    bench.ready("second")
    assert bench.shell("second", "cat /work/file").strip() == "kept"
    assert bench.get("pod", "second")["spec"]["nodeName"] == node


def test_a_volume_goes_with_its_claim(bench: Bench) -> None:
    bench.apply(CLAIM, pod("only", volumes=VOLUMES, mounts=MOUNTS))
    bench.ready("only")
    volume = bench.get("persistentvolumeclaim", "work")["spec"]["volumeName"]
    bench.kubectl("delete", "pod", "only")
    bench.kubectl("delete", "persistentvolumeclaim", "work")
    eventually("the volume's end", lambda: volume not in bench.kubectl("get", "persistentvolumes", "-o", "name"))
