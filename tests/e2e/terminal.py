"""kubectl and helm as a person runs them at the terminal."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from cluster import binary
from e2e.api import USER, Json

_SECONDS = 300


class CommandFailed(AssertionError):
    """A command ended with an error; the message carries what it printed."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell with KUBECONFIG set."""

    kubeconfig: Path

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl; return what it printed; raises CommandFailed."""
        return self._run([str(binary("kubectl")), *words], stdin)

    def helm(self, *words: str, stdin: str | None = None) -> str:
        """Run helm; return what it printed; raises CommandFailed."""
        return self._run([str(binary("helm")), *words], stdin)

    def apply(self, *manifests: Json, dry_run: bool = False) -> str:
        """Run `kubectl apply --server-side`, as a person or a GitOps controller does."""
        words = ["apply", "--server-side", f"--field-manager={USER}", "-f", "-"]
        return self.kubectl(*words, *(["--dry-run=server"] if dry_run else []), stdin=yaml.safe_dump_all(manifests))

    def execute(self, namespace: str, pod: str, *command: str) -> str:
        """Run a command in a pod's container; return what it printed."""
        return self.kubectl("exec", "-n", namespace, pod, "--", *command)

    def shell(self, script: str, folder: Path) -> str:
        """Run a script of the documentation, which may call kubectl, in a folder; return what it printed."""
        path = f"PATH={binary('kubectl').parent}:$PATH"
        return self._run(["bash", "-euo", "pipefail", "-c", f"export {path}; cd '{folder}'\n{script}"], None)

    def _run(self, command: list[str], stdin: str | None) -> str:
        """Run to the end."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            command, input=stdin, env=environment, text=True, capture_output=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(command[1:8])}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout
