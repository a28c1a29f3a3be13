"""The charts are clean for Helm itself: linted, packaged, and complete without a network."""

import shutil
from pathlib import Path

import pytest

from chart import helm

VALUES = [
    pytest.param([], id="defaults"),
    pytest.param(["egress.enabled=true", "egress.credential.secretRef.name=model-key"], id="egress"),
    pytest.param(["watchNamespaces={team-a,team-b}"], id="namespaced"),
    pytest.param(["gateway.enabled=false"], id="no-gateway"),
    pytest.param(["embeddedStore.enabled=true"], id="embedded-store"),
    pytest.param(
        [
            "gateway.tls.secretName=gateway-tls",
            "gateway.ingress.enabled=true",
            "gateway.ingress.host=agents.example.com",
            "gateway.oidc.enabled=true",
            "gateway.oidc.issuer=https://id.example.com",
            "gateway.oidc.jwksUri=https://id.example.com/keys",
        ],
        id="gateway",
    ),
    pytest.param(["crds.enabled=false", "rbac.create=false", "admissionPolicy.enabled=false"], id="bare"),
]


@pytest.mark.parametrize("settings", VALUES)
def test_the_operator_chart_passes_strict_lint(settings: list[str]) -> None:
    helm.run("lint", "--strict", str(helm.CHART), *(part for value in settings for part in ("--set", value)))


def test_the_crd_chart_passes_strict_lint() -> None:
    helm.run("lint", "--strict", str(helm.CRD_CHART))


def test_the_vendored_crd_chart_is_a_link_inside_the_repository() -> None:
    link = helm.CHART / "charts" / "agentsessions-crds"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == helm.CRD_CHART


def test_a_package_contains_the_crds(tmp_path: Path) -> None:
    helm.run("package", str(helm.CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    assert helm.template(chart=package) == helm.template()


def test_a_checkout_without_links_is_completed_by_dependency_build(tmp_path: Path) -> None:
    """Some tools drop symbolic links, Flux among them; the file:// dependency then does the same work."""
    shutil.copytree(helm.ROOT / "charts", tmp_path / "charts", ignore=shutil.ignore_patterns("charts"))
    chart = tmp_path / "charts" / "agentsessions"
    with pytest.raises(helm.HelmError, match="agentsessions-crds"):
        helm.template(chart=chart)
    helm.run("dependency", "build", str(chart))
    assert helm.template(chart=chart) == helm.template()


def test_dependency_build_beside_the_link_renders_nothing_twice(tmp_path: Path) -> None:
    shutil.copytree(helm.ROOT / "charts", tmp_path / "charts", symlinks=True)
    chart = tmp_path / "charts" / "agentsessions"
    helm.run("dependency", "build", str(chart))
    assert helm.template(chart=chart) == helm.template()
