"""A host template that was locked down is not loosened afterwards: the policy judges what the operator changes, too."""

import copy
from collections.abc import Iterator

import pytest

from install import kubectl
from install.conftest import Installation
from install.kubectl import Json
from install.test_admission_policy import BROKEN, Change, host_set


@pytest.fixture(scope="module")
def standing(cluster_wide: Installation) -> Iterator[Json]:
    """A StatefulSet as the operator makes it, without pods, that is really there."""
    made = host_set(cluster_wide.watched)
    made["spec"]["replicas"] = 0
    kubectl.apply(made)
    try:
        yield made
    finally:
        meta = made["metadata"]
        kubectl.run("delete", "statefulset", meta["name"], "--namespace", meta["namespace"], "--wait=false")


def change_as(user: str, made: Json) -> None:
    """Change the StatefulSet as `user`, by the verb that the operator uses, without keeping it."""
    how = ("--server-side", "--force-conflicts", "--dry-run=server")
    kubectl.run("apply", *how, "--as", user, "--filename", "-", stdin=made)


def test_the_operator_may_change_its_hosts(cluster_wide: Installation, standing: Json) -> None:
    more = copy.deepcopy(standing)
    more["spec"]["replicas"] = 3
    change_as(cluster_wide.user, more)


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[change.__name__ for change, _ in BROKEN])
def test_hosts_are_not_loosened_later(cluster_wide: Installation, standing: Json, change: Change, message: str) -> None:
    loose = copy.deepcopy(standing)
    change(loose["spec"]["template"])
    with pytest.raises(kubectl.KubectlError) as refused:
        change_as(cluster_wide.user, loose)
    assert "ValidatingAdmissionPolicy" in str(refused.value)
    assert message in str(refused.value)
