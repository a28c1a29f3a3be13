"""`python -m demo`: cluster, images, operator, model, one session, its result."""

import os
import sys
from pathlib import Path

import cluster
from cluster.selection import VARIABLE
from demo import images, install, model, result
from demo.console import Console
from demo.errors import DemoError
from demo.follow import Follower
from demo.programs import MODEL_KEY, Json, Program, helm, kubectl

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEAM, SESSION = "demo", "hello"
_STEPS = 5
_SECONDS = 300.0
_INTERRUPTED = 130


def main() -> int:
    """Run the demo; return its exit code: 0 only if the session succeeded."""
    console = Console(_STEPS)
    try:
        _demo(console)
    except (DemoError, cluster.ClusterError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ndemo: interrupted; `make demo` goes on from here, `make cluster-down` removes the cluster",
            file=sys.stderr,
        )
        return _INTERRUPTED
    return 0


def _demo(console: Console) -> None:
    """Run all steps; raises DemoError or ClusterError for the one that fails."""
    provider = cluster.provider()
    answering = model.choose(provider.name, os.environ.get(MODEL_KEY, ""))
    _introduce(console, provider, answering)
    _check_consent(provider)
    images.check_registry(provider)
    with console.step("A Kubernetes cluster", "first time: see above; later: seconds"):
        provider.up()
    with console.step("Images of operator, agent and stand-in", "first time a few minutes; later: seconds"):
        built = images.build()
        images.deliver(built, provider, console)
    control, chart = kubectl(provider), helm(provider)
    with console.step("The operator, by its Helm chart", "about 15 s"):
        _install(console, control, chart, built, answering)
    with console.step("A session: apply it, and watch", "about 15 s"):
        finished, tool_calls = _run_session(console, control)
    with console.step("Its result"):
        result.check(finished, tool_calls)
        result.show(finished, control, console, TEAM)
    console.heading(result.summary(finished))
    result.next_steps(provider, console, TEAM)


def _introduce(console: Console, provider: cluster.Provider, answering: model.Model) -> None:
    """Say what is going to happen, and what of it is slow."""
    console.heading("agentsessions demo: one agent session on a real Kubernetes, from nothing to its result")
    console.line(f"  cluster  {_CLUSTERS[provider.name]}")
    console.line(f"  model    {answering.note}")
    console.line(f"  leaves   the cluster running, and in it the namespaces {install.SYSTEM} and {TEAM}")


_CLUSTERS = {
    "local": "on this machine, without Docker: Kubernetes in network namespaces with no route out. The first run\n"
    "           builds it from Go modules (about 25 minutes on two cores) and keeps it; later it is up in seconds.",
    "kind": "kind, in Docker. The first run pulls its node image (about 400 MB); later it is up in seconds.",
    "existing": "the one that KUBECONFIG points to. It must be yours to install an operator and CRDs into.",
}


def _check_consent(provider: cluster.Provider) -> None:
    """A KUBECONFIG left over in a shell is no consent to install things into that cluster."""
    if provider.name == "existing" and os.environ.get(VARIABLE) != "existing":
        raise DemoError(
            f"KUBECONFIG points to a cluster that is not the demo's own. Set {VARIABLE}=existing to install the demo "
            "there, or unset KUBECONFIG to get a cluster of its own."
        )


def _install(console: Console, control: Program, chart: Program, built: images.Images, answering: model.Model) -> None:
    """Install operator and model."""
    if not answering.is_real:
        install.install_stand_in(control, built)
    console.command(f"helm upgrade --install {install.RELEASE} charts/agentsessions --namespace {install.SYSTEM}")
    install.install_operator(control, chart, install.values(built, answering), answering)


def _run_session(console: Console, control: Program) -> tuple[Json, int]:
    """Apply the examples in the team's namespace; return the finished session and its agent's number of tool calls."""
    control.run("apply", "--server-side", "--filename=-", stdin=install.namespace(TEAM))
    control.run("delete", "agentsession", SESSION, f"--namespace={TEAM}", "--ignore-not-found", "--wait")
    for file, about in (("template-default.yaml", "how agents run in this namespace"), ("session.yaml", "the session")):
        console.command(f"kubectl --namespace {TEAM} apply -f examples/{file}   # {about}")
        if file == "session.yaml":
            console.block((EXAMPLES / file).read_text())
        control.run("apply", f"--namespace={TEAM}", f"--filename={EXAMPLES / file}")
    follower = Follower(control, console, TEAM, SESSION)
    return follower.follow(_SECONDS), follower.tool_calls


if __name__ == "__main__":
    sys.exit(main())
