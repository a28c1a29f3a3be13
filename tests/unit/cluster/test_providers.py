"""Which cluster is chosen, and what kind and an existing cluster are asked to do."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster import selection
from cluster.errors import ClusterError
from cluster.existing import ExistingProvider, advice
from cluster.kind import CLUSTER, CONFIG, KindProvider


class Recorder:
    """Takes commands and answers as it was told."""

    def __init__(self, answers: dict[str, str] | None = None, failing: str = "") -> None:
        """Both by the words after the program."""
        self.commands: list[str] = []
        self._answers = answers or {}
        self._failing = failing

    def __call__(self, command: Sequence[str | Path], *, stdin: str | None = None) -> str:
        """Record it."""
        words = " ".join(map(str, command[1:]))
        self.commands.append(words)
        if self._failing and words.startswith(self._failing):
            raise ClusterError("kind failed")
        return self._answers.get(words, "")


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A state folder and a kind of our own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("cluster.kind.which", lambda _: "/bin/kind")
    monkeypatch.setattr("cluster.existing.build.binary", Path)


def test_a_named_provider_wins() -> None:
    assert selection.choose({selection.VARIABLE: "kind", "KUBECONFIG": "/x"}, lambda: False) == "kind"
    with pytest.raises(ClusterError, match="local, kind, existing"):
        selection.choose({selection.VARIABLE: "minikube"}, lambda: False)


def test_without_a_name_the_machine_decides() -> None:
    assert selection.choose({}, lambda: True) == "kind"
    assert selection.choose({}, lambda: False) == "local"


def test_a_kubeconfig_means_its_cluster() -> None:
    assert selection.choose({"KUBECONFIG": "/elsewhere/config"}, lambda: True) == "existing"
    for name in ("local", "kind"):
        own = str(selection.PROVIDERS[name]().kubeconfig())
        assert selection.choose({"KUBECONFIG": own}, lambda: True) == name


def test_kind_creates_one_cluster_from_our_file() -> None:
    recorder = Recorder()
    provider = KindProvider(recorder)
    provider.up()
    own = provider.kubeconfig()
    assert recorder.commands == [
        "get clusters",
        f"create cluster --name {CLUSTER} --config {CONFIG} --kubeconfig {own} --wait 180s",
        f"export kubeconfig --name {CLUSTER} --kubeconfig {own}",
    ]


def test_kind_leaves_a_cluster_that_is_there() -> None:
    recorder = Recorder({"get clusters": f"other\n{CLUSTER}\n"})
    KindProvider(recorder).up()
    assert not [command for command in recorder.commands if command.startswith("create")]


def test_half_a_kind_cluster_is_removed() -> None:
    recorder = Recorder(failing="create")
    with pytest.raises(ClusterError, match="kind failed"):
        KindProvider(recorder).up()
    assert recorder.commands[-1].startswith(f"delete cluster --name {CLUSTER}")


def test_kind_loads_archives_and_lists_nodes() -> None:
    nodes = f"{CLUSTER}-worker\n{CLUSTER}-control-plane\n"
    recorder = Recorder({f"get nodes --name {CLUSTER}": nodes, "get clusters": CLUSTER})
    provider = KindProvider(recorder)
    provider.load_images([Path("a.tar"), Path("b.tar")])
    assert [command.split()[-1] for command in recorder.commands] == ["a.tar", "b.tar"]
    assert provider.nodes() == [f"{CLUSTER}-control-plane", f"{CLUSTER}-worker"]
    assert provider.status().startswith("up: ")
    assert provider.audit_log is None


def test_kind_deletes_only_its_own() -> None:
    recorder = Recorder()
    provider = KindProvider(recorder)
    provider.down()
    assert recorder.commands == [f"delete cluster --name {CLUSTER} --kubeconfig {provider.kubeconfig()}"]


def test_kind_pins_its_node_image_by_digest() -> None:
    lines = [line.strip() for line in CONFIG.read_text().splitlines() if "image:" in line]
    assert len(lines) == 2
    assert len(set(lines)) == 1
    assert "@sha256:" in lines[0]


def test_an_existing_cluster_is_asked_and_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    config.touch()
    monkeypatch.setenv("KUBECONFIG", str(config))
    view = f"--kubeconfig={config} config view --minify -o jsonpath={{.clusters[0].cluster.server}}"
    recorder = Recorder({view: "https://example.org"})
    provider = ExistingProvider(recorder)
    provider.up()
    provider.down()
    provider.load_images([Path("operator.tar")])
    assert [command.split()[1] for command in recorder.commands] == ["get", "config"]
    said = capsys.readouterr().err
    assert "https://example.org" in said
    assert "operator.tar" in said


def test_a_missing_kubeconfig_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match=r"none: no such kubeconfig"):
        ExistingProvider(Recorder()).up()


def test_advice_says_what_goes_where() -> None:
    assert advice(Path("operator.tar"), "registry.example.org/team/").startswith(
        "operator.tar: push it as registry.example.org/team/operator"
    )
    assert "AGENTSESSIONS_REGISTRY" in advice(Path("operator.tar"), None)
