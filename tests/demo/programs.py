"""kubectl and helm, each bound to the cluster of the demo. Owns their command lines; secrets go by stdin only."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import cluster
from cluster.packages import which
from demo.errors import DemoError

Json = dict[str, Any]
MODEL_KEY = "ANTHROPIC_API_KEY"
_MINUTES = 10


class Program:
    """One program and the options that every call of it gets."""

    def __init__(self, path: Path, options: Sequence[str]) -> None:
        self._words = [str(path), *options]

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run to the end and return what it printed; raises DemoError with what it complained of."""
        command = [*self._words, *words]
        try:
            done = subprocess.run(
                command, input=stdin, env=_environment(), text=True, capture_output=True, timeout=60 * _MINUTES
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"{Path(command[0]).name} {' '.join(words)}: not done after {_MINUTES} minutes") from None
        if done.returncode != 0:
            what = f"{Path(command[0]).name} {' '.join(words)}"
            raise DemoError(f"{what}: exit code {done.returncode}\n{(done.stderr or done.stdout).strip()}")
        return done.stdout

    def json(self, *words: str) -> Json:
        """Run and return its output as JSON."""
        answer: Json = json.loads(self.run(*words, "--output=json"))
        return answer

    def stream(self, *words: str) -> "subprocess.Popen[str]":
        """Start it and leave it running; whoever asked must end it."""
        return subprocess.Popen(
            [*self._words, *words], env=_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )


def kubectl(provider: cluster.Provider) -> Program:
    """Return kubectl for this cluster."""
    return Program(_find("kubectl", provider), [f"--kubeconfig={provider.kubeconfig()}"])


def helm(provider: cluster.Provider) -> Program:
    """Return helm for this cluster."""
    return Program(_find("helm", provider), [f"--kubeconfig={provider.kubeconfig()}"])


def output_of(process: "subprocess.Popen[str]") -> IO[str]:
    """Return the standard output of a started program."""
    if process.stdout is None:
        raise DemoError("a program was started without its output")
    return process.stdout


def _find(name: str, provider: cluster.Provider) -> Path:
    """Take the person's own program where there is one; the local cluster comes with its own in any case."""
    own = None if provider.name == "local" else which(name)
    return Path(own) if own else cluster.binary(name)


def _environment() -> Mapping[str, str]:
    """Return our environment without the model key: no program that we start needs it."""
    return {name: value for name, value in os.environ.items() if name != MODEL_KEY}
