"""The end of the demo: what the session left behind, whether that is a success, and what to try next."""

import cluster
from demo.console import Console
from demo.errors import DemoError
from demo.narrate import condition
from demo.programs import Json, Program


def check(session: Json, tool_calls: int) -> None:
    """Raise DemoError, with reason and remedy, unless the session succeeded, called a tool and says what it used."""
    ready, status = condition(session, "Ready"), session.get("status", {})
    if condition(session, "Succeeded").get("status") != "True":
        reason = ready.get("reason", "Unknown")
        raise DemoError(
            f"the session did not succeed: {reason}: {ready.get('message', '')}\n"
            f"What '{reason}' means and what to do: docs/troubleshooting.md"
        )
    missing = [name for name in ("result", "usage") if not status.get(name)]
    if missing or not status["usage"].get("turns"):
        raise DemoError(f"the session succeeded, but its status does not say all: {', '.join(missing) or 'no turns'}")
    if not tool_calls:
        raise DemoError("the session succeeded, but its agent called no tool: its log tells what it did instead")


def show(session: Json, kubectl: Program, console: Console, namespace: str) -> None:
    """Show the finished session as kubectl shows it."""
    name = session["metadata"]["name"]
    console.command(f"kubectl --namespace {namespace} get agentsessions")
    console.block(kubectl.run("get", "agentsessions", f"--namespace={namespace}"))
    console.command(f"kubectl --namespace {namespace} get agentsession {name} --output yaml")
    text = kubectl.run("get", "agentsession", name, f"--namespace={namespace}", "--output=yaml")
    console.block(text[text.index("\nstatus:") :].lstrip("\n"))


def summary(session: Json) -> str:
    """Return the session's outcome in one sentence."""
    usage = session["status"]["usage"]
    tokens = f"{usage.get('inputTokens', 0)} tokens in, {usage.get('outputTokens', 0)} out"
    return f"Succeeded in {usage.get('turns')} turns: {tokens}, ${usage.get('costUsd', '0')} by the price list."


def next_steps(provider: cluster.Provider, console: Console, namespace: str) -> None:
    """Show what to type next."""
    console.heading("Try next, in this folder")
    steps = (
        ('eval "$(make -s env)"', "kubectl and helm for this cluster"),
        (f"kubectl config set-context --current --namespace={namespace}", "stay in the demo's namespace"),
        ("kubectl explain agentsession.spec", "the API, as documentation"),
        ("kubectl apply -f examples/session-with-volume.yaml", "a workspace that outlives its pod"),
        ("kubectl get agentsessions --watch", "see it go"),
        ("kubectl delete agentsession hello", "everything of it goes with it"),
        ("make demo", "again: quick, now that all is built"),
    )
    for command, why in steps:
        console.line(f"  {command:<64} # {why}")
    if provider.name != "existing":
        console.line(f"  {'make cluster-down':<64} # stop the cluster and remove it")
