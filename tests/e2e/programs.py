"""Programs of ours that run inside a pod: what they measure or suffer is the cluster's, not the way into it."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import binary
from e2e.api import Json
from e2e.manifests import SERVER_PYTHON
from e2e.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program runs: a container that has Python with aiohttp."""

    namespace: str
    pod: str
    container: str = ""
    python: str = SERVER_PYTHON


@dataclass(frozen=True, slots=True)
class Program:
    """A program under way, which says one JSON object a line."""

    process: "subprocess.Popen[str]"

    def line(self) -> Json:
        """Return the next line; AssertionError if the program ended before it."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, f"the program ended: {self._complaint()}"
        found: Json = json.loads(text)
        return found

    def end(self) -> Json:
        """Tell a program that goes on until it is told to come to an end; return what it says then."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()

    def _complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()[-2000:]


@contextmanager
def started(terminal: Terminal, place: Place, source: Path, config: Json) -> Iterator[Program]:
    """Run a program in a container until the block ends. Its configuration, tokens included, goes by standard input."""
    words = ["exec", "--stdin", f"--namespace={place.namespace}", place.pod]
    words += [f"--container={place.container}"] if place.container else []
    command = [str(binary("kubectl")), *words, "--", place.python, "-c", source.read_text()]
    environment = {**os.environ, "KUBECONFIG": str(terminal.kubeconfig)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(config) + "\n")
            process.stdin.flush()
            yield Program(process)
        finally:
            process.terminate()


def run(terminal: Terminal, place: Place, source: Path, config: Json) -> Json:
    """Run a program that says one line; return it."""
    with started(terminal, place, source, config) as program:
        return program.line()
