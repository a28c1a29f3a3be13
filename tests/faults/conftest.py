"""Faults use the cluster, the operator and the namespaces of the tests on a real cluster."""

from faults.drawing import SEED

pytest_plugins = ["e2e.fixtures"]


def pytest_report_header() -> str:
    """Say how the run is repeated, also if it passes."""
    return f"faults: AGENTSESSIONS_SEED={SEED}"
