"""Reads the world around one session, live: a decision on a stale cache could start a second pod."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from agentsessions.api.base import Json
from agentsessions.api.names import DEFAULT_TEMPLATE, LABEL_SESSION_UID
from agentsessions.api.session import AgentSession, ObjectMeta
from agentsessions.api.status import Host
from agentsessions.api.storage import LocalReference
from agentsessions.api.template import AgentTemplateSpec, TemplateFields
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import CORE_EVENTS, PODS, SESSIONS, TEMPLATES
from agentsessions.policies.evictions import as_told, last_seen
from agentsessions.policies.facts import TERMINAL, PodFacts, parse_time, pod_facts
from agentsessions.policies.startup import PodWarning, needs_events
from agentsessions.reconcile.model import Observed

_REMEMBERED = 2000
_STILL_TRUE = timedelta(minutes=4)
"""The kubelet repeats a complaint about a volume every two minutes at most."""


class UnreadableSession(Exception):
    """A session that the API server accepted and this operator cannot read; the text names the fields."""

    def __init__(self, fields: str, metadata: ObjectMeta) -> None:
        super().__init__(fields)
        self.metadata = metadata


@dataclass
class DeletedPods:
    """The last words of pods that may be gone when somebody looks: a watch delivers them once, and a list never again.

    Only a help: without it (after a restart) events are asked for such a pod, and else it counts as deleted before it
    could report.
    """

    _pods: OrderedDict[str, PodFacts] = field(default_factory=OrderedDict)

    def remember(self, pod: Json) -> None:
        """Keep what a pod says that has ended; its deletion may be seen by a list before a watch tells of it."""
        if pod.get("status", {}).get("phase") in TERMINAL:  # of most of what is heard no more need be known
            self._pods[pod["metadata"]["uid"]] = pod_facts(pod)
            while len(self._pods) > _REMEMBERED:
                self._pods.popitem(last=False)

    def recall(self, uid: str) -> PodFacts | None:
        """Return the pod of that uid as it ended, if that is known."""
        return self._pods.get(uid)


async def find(key: tuple[str, str], kube: Kube) -> AgentSession | None:
    """Return the session, or None if it is gone; raises UnreadableSession."""
    raw = await kube.get(SESSIONS, *key)
    return _session(raw) if raw is not None else None


async def observe(session: AgentSession, kube: Kube, deleted: DeletedPods, now: datetime) -> Observed:
    """Return what is known around the session."""
    if session.metadata.deletion_timestamp is not None:
        return Observed(session)
    selector = f"{LABEL_SESSION_UID}={session.metadata.uid}"
    pods = [pod_facts(pod) for pod in await kube.list(PODS, session.metadata.namespace, labelSelector=selector)]
    pods += await _missed(session, pods, kube, deleted)
    name, template, problem = await _template(session, kube)
    complaints = await warnings(session, pods, session.status.restarts, kube, now)
    return Observed(session, template, name, problem, tuple(pods), tuple(complaints))


def _session(raw: Json) -> AgentSession:
    """Return the session as a model; raises UnreadableSession, which only another version of the CRD can cause."""
    try:
        return AgentSession.model_validate(raw)
    except ValidationError as error:
        raise UnreadableSession(", ".join(_fields(error)), ObjectMeta.model_validate(raw["metadata"])) from error


def _fields(error: ValidationError) -> list[str]:
    """Return the paths of the fields that could not be read; never their values."""
    return sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})


async def _missed(session: AgentSession, pods: list[PodFacts], kube: Kube, deleted: DeletedPods) -> list[PodFacts]:
    """Return the session's own pod if the list lacks it: it may have lost its label, or be gone with a known end."""
    status, host = session.status, session.status.host
    if host is None or host.pod_uid is None or status.completion_time is not None:
        return []
    told = status.last_termination is not None and status.last_termination.pod_uid == host.pod_uid
    if told or any(pod.uid == host.pod_uid for pod in pods):
        return []
    raw = await kube.get(PODS, session.metadata.namespace, host.pod)
    there = raw is not None and raw["metadata"]["uid"] == host.pod_uid
    pod = pod_facts(raw) if raw is not None and there else await last_words(session, host, kube, deleted)
    return [replace(pod, attempt=status.restarts)] if pod is not None else []


async def last_words(session: AgentSession, host: Host, kube: Kube, deleted: DeletedPods) -> PodFacts | None:
    """Return the pod of a session's host that is gone, as it ended: as a watch has heard, else as events tell.

    That a session goes on never depends on events.
    """
    if (pod := deleted.recall(host.pod_uid or "")) is not None:
        return pod
    try:
        events = await kube.list(CORE_EVENTS, session.metadata.namespace, fieldSelector=_about(session, host))
    except KubeError:
        return None
    told = as_told(host, events)
    # Events do not name owners; the pod that status names was the session's.
    return replace(told, owner_uid=session.metadata.uid) if told is not None else None


def _about(session: AgentSession, host: Host) -> str:
    """Return the selector of events about a session's host.

    Some of them name no uid, and hosts of a pool bear the same name one after the other.
    """
    by_name = f"involvedObject.kind=Pod,involvedObject.name={host.pod}"
    return by_name if session.spec.pool_ref is None else f"involvedObject.uid={host.pod_uid}"


async def _template(session: AgentSession, kube: Kube) -> tuple[str, TemplateFields | None, str]:
    """Return name, content and problem of the session's template; a finished session needs none."""
    named = session.spec.template_ref
    if session.status.completion_time is not None:
        return named.name if named else DEFAULT_TEMPLATE, None, ""
    return await read_template(session.metadata.namespace, named, kube)


async def read_template(
    namespace: str, named: LocalReference | None, kube: Kube
) -> tuple[str, TemplateFields | None, str]:
    """Return name, content and problem of a template; the one called `default` may be missing if nobody named it."""
    name = named.name if named else DEFAULT_TEMPLATE
    raw = await kube.get(TEMPLATES, namespace, name)
    if raw is None:
        return name, None, _missing(name) if named else ""
    try:
        return name, AgentTemplateSpec.model_validate(raw.get("spec", {})), ""
    except ValidationError as error:
        text = f"AgentTemplate '{name}' has fields that this operator cannot read: {', '.join(_fields(error))}."
        return name, None, text


def _missing(name: str) -> str:
    """Return what to say when the named template does not exist."""
    text = f"AgentTemplate '{name}' (`templateRef.name`) does not exist in this namespace."
    return f"{text} Create it and the session starts."


async def warnings(
    session: AgentSession, pods: list[PodFacts], attempt: int, kube: Kube, now: datetime
) -> list[PodWarning]:
    """Return the warning events of the pod of that attempt, if it does not start and does not say why."""
    stuck = [pod for pod in pods if pod.attempt == attempt and needs_events(pod, now)]
    if not stuck:
        return []
    selector = f"involvedObject.uid={stuck[0].uid},type=Warning"
    found = await kube.list(CORE_EVENTS, session.metadata.namespace, fieldSelector=selector)
    return list(noted_by_node([one for one in found if _is_recent(one, now)]))


def noted_by_node(events: Sequence[Json]) -> tuple[PodWarning, ...]:
    """Return events in a few words, the last one last."""
    return tuple(
        PodWarning(one.get("reason", ""), one.get("message", ""), parse_time(last_seen(one)))
        for one in sorted(events, key=last_seen)
    )


def _is_recent(warning: Json, now: datetime) -> bool:
    """Return whether the complaint may still hold; events stay for an hour, causes are often mended sooner."""
    seen = parse_time(last_seen(warning))
    return seen is None or now - seen < _STILL_TRUE
