"""The configuration file: what is wrong with it is said in one line that names the field."""

from pathlib import Path

import pytest

from agentsessions.api.config import OperatorConfig
from agentsessions.handlers.configuration import BadConfiguration, load
from agentsessions.handlers.main import run_operator


def written(folder: Path, text: str | bytes) -> Path:
    """Write a configuration file."""
    file = folder / "config.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize("text", ["", "{}", "---\n"])
def test_an_empty_file_is_the_built_in_configuration(text: str, tmp_path: Path) -> None:
    assert load(written(tmp_path, text)) == OperatorConfig()


def test_a_whole_file(tmp_path: Path) -> None:
    text = """
        defaults: {image: mine, modelEndpoint: {baseUrl: "http://m", egress: [{namespace: m, port: 80}]}}
        dns: {namespace: dns, podLabels: {app: dns}, cidrs: [10.0.0.10/32]}
        retryBackoff: {baseSeconds: 1, maxSeconds: 2}
        watchNamespaces: [a, b]
        logLevel: debug
        concurrency: 4
    """
    config = load(written(tmp_path, text))
    assert config.defaults.image == "mine"
    assert config.dns.cidrs == ["10.0.0.10/32"]
    assert (config.retry_backoff.base_seconds, config.watch_namespaces, config.concurrency) == (1, ["a", "b"], 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("logLevel: loud", ["logLevel", "debug"], id="unknown-level"),
        pytest.param("concurrency: 0", ["concurrency", "1"], id="too-small"),
        pytest.param("concurency: 4", ["concurency"], id="misspelt"),
        pytest.param("watchNamespaces: [Upper]", ["watchNamespaces.0"], id="no-namespace"),
        pytest.param("defaults: {agent: {maxTurns: 0}}", ["defaults.agent.maxTurns"], id="deep"),
        pytest.param("{concurrency: 0, logLevel: loud}", ["concurrency", "logLevel"], id="two-at-once"),
        pytest.param("[1, 2]", ["the file"], id="a-list"),
        pytest.param("just text", ["the file"], id="a-word"),
        pytest.param("a: [1", ["not YAML"], id="broken"),
        pytest.param(b"a: \xff\xfe", ["config.yaml"], id="not-text"),
    ],
)
def test_what_is_wrong_is_named(text: str | bytes, words: list[str], tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(BadConfiguration) as caught:
        load(file)
    problem = str(caught.value)
    assert problem.startswith(f"{file}: ")
    assert [word for word in words if word not in problem] == []
    assert "\n" not in problem


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="directory"):
        load(tmp_path / name)


def test_the_operator_does_not_start_with_a_bad_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_operator(written(tmp_path, "concurrency: 0"), port=0) == 2
    told = capsys.readouterr().err
    assert told.startswith("agentsessions: ")
    assert "concurrency" in told
    assert "Traceback" not in told
