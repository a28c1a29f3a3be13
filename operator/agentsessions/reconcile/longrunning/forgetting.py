"""Sessions whose stored conversation goes with them (`sessionStore.onDelete: Delete`); pure.

A finalizer holds the resource, of those that ask for it only, while the session's own pods end and another pod removes
what is stored. It comes off when that is done; or when it cannot be done, after an event that says what is left. So a
deletion takes longer, and never for ever.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import FINALIZER, cleanup_name
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.builders.cleanup import REFUSED, cleanup_pod, cleanup_secret
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.builders.storage import store_problem
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.resolve import Settings, resolve
from agentsessions.policies.startup import diagnose
from agentsessions.reconcile.longrunning import images, ownpod
from agentsessions.reconcile.longrunning.model import Around, Step
from agentsessions.reconcile.longrunning.rows import set_state, waiting
from agentsessions.reconcile.model import Action, DeletePod, Ensure, Notice, SetFinalizers, StartOwner

PATIENCE = timedelta(minutes=2)
"""How long a deletion waits for the removal, beyond the time that the session's own pods may take to end."""

_SOON = timedelta(seconds=5)
_NAMESPACE_ENDS = "because it is being terminated"
"""How the API server refuses new objects in a namespace that is being deleted."""
_SPEAKER = "agentrunner store: "
_AGAIN = " It is tried again."
_UNKNOWN = "Its store is not known any more: the AgentTemplate or AgentPool that named it is gone."


def finalizer(around: Around, settings: Settings) -> Step | None:
    """Return the step that puts the finalizer on or takes it off; None if it is as it should be.

    Nothing else is done in that pass: there is no conversation yet that the finalizer would come too late for.
    """
    store, there = settings.fields.session_store, FINALIZER in around.session.metadata.finalizers
    if store is None or there == (store.on_delete == "Delete"):
        return None
    return Step(around.session.status, requeue=_SOON, actions=(_mark(around.session, there=not there),))


def forget(around: Around, *, free: bool, since: timedelta, now: datetime, config: OperatorConfig) -> Step:
    """Return what to do about a session that is being deleted; `free` is whether no host has it any more.

    `since` is how long this operator has tried.
    """
    status = around.session.status
    if not _was_on_a_host(status) or _is(status, Reason.CONVERSATION_KEPT):
        return _done(around)
    settings = _settings(around, config)
    store = settings.fields.session_store
    if store is not None and store.on_delete == "Retain":
        return _done(around)
    if around.cleanup is not None and around.cleanup.phase == "Succeeded":
        return _done(around)
    step = _removal(around, settings, now, config, free=free)
    if since < PATIENCE + timedelta(seconds=settings.fields.termination_grace_period_seconds or 0):
        return step
    return _kept(around, settings, _trouble(around), now)


def refused(around: Around, message: str, now: datetime, config: OperatorConfig) -> Step:
    """Return what comes of an action that the API server refused."""
    if _NAMESPACE_ENDS in message:
        why = "The namespace is being deleted, and nothing can be started in it any more."
        return _kept(around, _settings(around, config), why, now)
    return _waiting(around, f"The API server refuses: {message}", now)


def _removal(around: Around, settings: Settings, now: datetime, config: OperatorConfig, *, free: bool) -> Step:
    """Go one step further: own pods gone, then the cleanup pod made, then followed; or say what is waited for."""
    store = settings.fields.session_store
    if store is None:
        return _waiting(around, _UNKNOWN, now)
    if problem := store_problem(store, config.embedded_store):
        return _waiting(around, problem, now)
    if around.pods:
        text = f"Pod '{around.pods[0].name}' is ending; then the stored conversation is removed."
        return ownpod.leftovers(around, _waiting(around, text, now), now)
    if around.cleanup is not None:
        return _followed(around, around.cleanup, settings, now, config)
    if not free:
        return _waiting(around, "Its host does not let go of the session: it cannot be reached.", now)
    policy = network_policy(around.session.metadata.namespace, settings, config, hosts=True)
    pod = cleanup_pod(around.session, settings, policy_label(policy))
    secret = cleanup_secret(around.session, settings, "", config)
    return _removing(around, now, Ensure(policy, look=True), StartOwner(pod, secret))


def _followed(around: Around, pod: PodFacts, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """The cleanup pod is there: wait for its end, or say why it does not start, or why it failed."""
    if pod.deleting or pod.running:
        return _removing(around, now)
    if pod.phase == "Failed":
        why = _last_words(pod)
        if pod.ended is not None and pod.ended.exit_code == REFUSED:
            return _kept(around, settings, why, now)
        return replace(_waiting(around, f"{why}{_AGAIN}", now), actions=_without(around))
    found = diagnose(pod, around.warnings, settings.fields.image or "")
    if found.reason == Reason.STARTING:
        return _removing(around, now)
    if found.reason == Reason.SECRET_NOT_FOUND and f"'{pod.name}'" in found.message:
        # The pass that made the pod was cut short, or the Secret there was went with a pod before this one.
        return _removing(around, now, Ensure(cleanup_secret(around.session, settings, pod.uid, config)))
    return _waiting(around, _first_sentence(found.message), now)


def _removing(around: Around, now: datetime, *actions: Action) -> Step:
    """Follow the cleanup pod; of one before it that failed, the reason is remembered in the status."""
    before = _message(around)
    text = before if before.endswith(_AGAIN) else f"{_pod(around)} removes the stored conversation."
    return replace(_waiting(around, text, now), actions=actions)


def _waiting(around: Around, message: str, now: datetime) -> Step:
    return waiting(around, Reason.FORGETTING, message, now, _SOON)


def _done(around: Around) -> Step:
    """Let the session go, and the cleanup pod with it."""
    return Step(around.session.status, actions=(*_without(around), _mark(around.session, there=False)))


def _kept(around: Around, settings: Settings, why: str, now: datetime) -> Step:
    """Give up, and say what is left; the next pass, which finds this in the status, lets the session go."""
    text = f"The stored conversation was not removed. {why} {_by_hand(around, settings)}"
    status = set_state(around, State.BLOCKED, Reason.CONVERSATION_KEPT, text, now)
    return Step(status, (Notice("Warning", Reason.CONVERSATION_KEPT, "Forget", text),), timedelta())


def _by_hand(around: Around, settings: Settings) -> str:
    """Return how a person removes what is left."""
    meta, store = around.session.metadata, settings.fields.session_store
    if store is None:
        return f"Remove it with `agentrunner store delete … {meta.uid}`."
    prefix = f"{store.prefix}/{meta.namespace}"
    text = f"Remove it with `agentrunner store delete --type {store.type} --prefix {prefix} … {meta.uid}`"
    archive = settings.fields.workspace.archive if settings.fields.workspace else None
    if archive is None:
        return f"{text}."
    return f"{text}, and `{archive.prefix}/{meta.namespace}/{meta.uid}/` from the bucket '{archive.s3.bucket}'."


def _mark(session: AgentSession, *, there: bool) -> SetFinalizers:
    others = tuple(one for one in session.metadata.finalizers if one != FINALIZER)
    return SetFinalizers(session, (*others, FINALIZER) if there else others)


def _without(around: Around) -> tuple[Action, ...]:
    pod = around.cleanup
    return () if pod is None or pod.deleting else (DeletePod(pod, around.session.metadata.namespace),)


def _settings(around: Around, config: OperatorConfig) -> Settings:
    """Return what the session runs with, as far as it is known: a template may be gone before its sessions."""
    found = resolve(around.session.spec, around.template, config.defaults, template_name=around.template_name)
    return images.chosen(around, found)


def _was_on_a_host(status: AgentSessionStatus) -> bool:
    """Return whether anything can have been stored: without a host there was no transcript."""
    return status.host is not None or status.wakes > 0 or status.start_time is not None


def _is(status: AgentSessionStatus, reason: Reason) -> bool:
    ready = status.condition("Ready")
    return ready is not None and ready.reason == reason


def _message(around: Around) -> str:
    """Return what the status says of the removal so far."""
    ready = around.session.status.condition("Ready")
    return ready.message if ready is not None and ready.reason == Reason.FORGETTING else ""


def _trouble(around: Around) -> str:
    """Return what kept the removal from its end until its time was over."""
    last = _message(around).removesuffix(_AGAIN)
    return f"{_pod(around)} did not do it in time." if not last or last.startswith(_pod(around)) else last


def _pod(around: Around) -> str:
    meta = around.session.metadata
    return f"Pod '{cleanup_name(meta.name, meta.uid)}'"


def _last_words(pod: PodFacts) -> str:
    """Return what the cleanup said at its end; nothing but its own words, which hold no secret."""
    said = pod.ended.message.strip().splitlines()[-1:] if pod.ended is not None else []
    if said and said[0].startswith(_SPEAKER):
        return f"It could not be: {said[0].removeprefix(_SPEAKER)}."
    how = f"exit code {pod.ended.exit_code}" if pod.ended is not None else pod.reason or "no reason given"
    return f"The pod that was to do it failed ({how})."


def _first_sentence(text: str) -> str:
    """Return a diagnosis without its advice, which is for sessions that start."""
    return f"{text.partition('. ')[0].rstrip('.')}."
