"""A situation for every condition that can be said of a session or a pool: what is reached from these is documented."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

from agentsessions.api.base import Json
from agentsessions.api.conditions import WOKEN_IN_VAIN
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import Beginning, HostSession
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH, CONTAINER
from agentsessions.api.pool import AgentPool
from agentsessions.api.rollout import SessionRollout
from agentsessions.api.status import AgentSessionStatus, Host, Queue, Resolved, Usage
from agentsessions.api.template import TemplateFields
from agentsessions.api.termination import ReportReason
from agentsessions.builders.activation import activation
from agentsessions.hosts.errors import StorageTrouble
from agentsessions.kube.paths import CONTROLLER_REVISIONS, CORE_EVENTS, PODS, POOLS, STATEFUL_SETS
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.policies.startup import PodWarning
from agentsessions.reconcile import starting
from agentsessions.reconcile.apply import Applied
from agentsessions.reconcile.longrunning import answers, forgetting, ownpod
from agentsessions.reconcile.longrunning.carriedout import acted
from agentsessions.reconcile.longrunning.model import Around, Handover, Step
from agentsessions.reconcile.longrunning.plan import decide
from agentsessions.reconcile.longrunning.rows import blocked
from agentsessions.reconcile.loop import after
from agentsessions.reconcile.model import Observed
from agentsessions.reconcile.plan import make_plan
from agentsessions.reconcile.pools.loop import PoolReconciler
from unit import kubelet
from unit.hostile import REFUSALS
from unit.hosts.fakehost import make_host_session
from unit.hybrid import CONFIG as GATEWAY
from unit.hybrid import NAME, STORE, UID, Stage, in_pool, make_nap, make_pooled, not_ready, serving
from unit.lasting import make_pool, make_talk
from unit.make import CONFIG, NAMESPACE, NOW, SessionMaker, later, make_pod, make_report, make_session, make_settings
from unit.operator_at_work import finish
from unit.said import Said, overheard
from unit.situations import DONE

FORGETFUL: Json = STORE | {"onDelete": "Delete"}
ON_THE_WAY = (
    kubelet.pending(),
    kubelet.unschedulable(),
    kubelet.creating(),
    kubelet.creating("ErrImagePull"),
    kubelet.creating("CreateContainerConfigError", 'secret "model" not found'),
    kubelet.creating("CreateContainerError", "no such runtime"),
    kubelet.running(),
)
WARNINGS = (
    PodWarning("FailedMount", "MountVolume.SetUp failed for volume"),
    PodWarning("FailedMount", 'secret "prompt" not found'),
    PodWarning("FailedCreatePodSandBox", "no runtime"),
)
REPORTS = sorted(set(ReportReason) - {ReportReason.RUNNING, ReportReason.COMPLETED})
ENDS = (
    kubelet.ended(0, message=DONE),
    kubelet.ended(1),
    kubelet.ended(137, reason="OOMKilled"),
    kubelet.evicted(),
    kubelet.evicted(kubelet.EVICTED_DISK),
    kubelet.node_lost(),
    kubelet.never_started(),
    kubelet.deadline_exceeded(),
    *(kubelet.ended(1, message=make_report("Failed", reason)) for reason in REPORTS),
)
REFUSED = (Applied(refused="no such RuntimeClass"), Applied(refused="exceeded quota: pods"))
LINE = Queue(position=1, reason="namespace team-a runs 2 of 2", since=NOW)
OLD = later(-60)
BOUNDS: tuple[Json, ...] = ({"maxSessionTurns": 1}, {"maxAgeSeconds": 1})
STORE_PROBLEMS = ("StoreBehind", "TranscriptDiverged", "StoreUnreachable", "StoreRefused")


def of_sessions() -> frozenset[Said]:
    """Return all that can be said of sessions."""
    found: set[Said] = set()
    with overheard(found.add):
        for seen, config in ephemeral():
            make_plan(seen, NOW, config)
        seen = Observed(make_session().build())
        plan = make_plan(seen, NOW, CONFIG)
        for applied in (*REFUSED, Applied(pod_in_the_way="hello")):
            after(seen, plan, applied, NOW)
        starting.queued(seen, plan, LINE, NOW)
        for around in (*long_running(), *hybrid()):
            decide(around, NOW, GATEWAY)
        _answers()
        _deletions()
    return frozenset(found)


def of_pools() -> frozenset[Said]:
    """Return all that can be said of pools."""
    found: set[Said] = set()
    with overheard(found.add):
        _pools()
    return frozenset(found)


# Ephemeral


def ephemeral() -> Iterator[tuple[Observed, OperatorConfig]]:
    """Yield sessions that are to start, whose pod is on its way, at work, over, or gone."""
    fresh = make_session()
    yield Observed(fresh.build()), CONFIG
    yield Observed(fresh.build(), template_problem="There is none."), CONFIG
    yield Observed(fresh.build()), OperatorConfig()
    yield (
        Observed(fresh.with_status(start_time=later(-4000), resolved=Resolved(active_deadline_seconds=60)).build()),
        CONFIG,
    )
    for policy, status in product(("OnFailure", "Never"), (*ON_THE_WAY, *ENDS, None)):
        maker = fresh.with_spec(restart_policy=policy)
        pod = make_pod(maker.build()).made_with(make_settings(maker.build()).hash)
        session = maker.on_pod(pod.facts()).build()
        pods = [pod.with_status(status).facts()] if status is not None else []
        yield Observed(session, pods=pods), CONFIG
    late = fresh.with_spec(limits={"startDeadlineSeconds": 1})
    pod = make_pod(late.build()).made_with(make_settings(late.build()).hash).with_status(kubelet.unschedulable())
    yield (
        Observed(late.on_pod(pod.facts()).build(), pods=[pod.with_meta(creationTimestamp=OLD.isoformat()).facts()]),
        CONFIG,
    )
    pod = make_pod(fresh.build()).made_with(make_settings(fresh.build()).hash).with_status(kubelet.creating())
    for warning in WARNINGS:
        yield Observed(fresh.build(), pods=[pod.facts()], warnings=[warning]), CONFIG
    yield Observed(fresh.build(), pods=[pod.owned_by("another").facts()]), CONFIG
    stored = fresh.with_storage("1Gi").with_status(resolved=Resolved(storage="1Gi"))
    pod = make_pod(stored.build()).made_with(make_settings(stored.build()).hash).with_status(kubelet.running())
    gone = pod.with_meta(deletionTimestamp=OLD.isoformat())
    yield Observed(stored.on_pod(gone.facts()).build(), pods=[gone.facts()]), CONFIG


# LongRunning

HOST = HostFacts("chat-0", "uid-0", "10.0.0.7", node="n1", ready=True, owner_uid="sts")
POOL = AgentPool.model_validate(make_pool())
TEMPLATE = TemplateFields.model_validate({"sessionStore": STORE})


def pooled(maker: SessionMaker, **fields: Any) -> Around:
    """Return a session of a pool with one host."""
    known = {"pool": POOL, "pool_name": "chat", "template": TEMPLATE, "hosts": (HOST,), "capacity": {"chat-0": 10}}
    return Around(maker.build(), **known | fields)


def running(maker: SessionMaker, **fields: Any) -> Around:
    """Return a session that its host has taken, by what the operator itself writes of one."""
    placed = decide(pooled(maker), NOW, GATEWAY).status
    around = pooled(maker.with_status(placed.model_copy(update={"host": Host(pod="chat-0", pod_uid="uid-0")})))
    step = decide(around, NOW, GATEWAY)
    assert step.handover is not None
    status = answers.accepted(around, step, step.handover, told(), NOW, GATEWAY).status
    return pooled(maker.with_status(status), **fields)


def told(**news: object) -> HostSession:
    """Return what a host tells of the session."""
    return make_host_session(UID, NAME, **{"idle_since": NOW} | news)


def long_running() -> Iterator[Around]:
    """Yield sessions on their way to a host, on one, and without one."""
    talk = make_talk(NAME, UID)
    yield pooled(talk)
    yield pooled(talk, pool=None)
    yield pooled(talk, template_problem="There is none.")
    yield pooled(talk, hosts=())
    yield pooled(talk, not_now=frozenset({"uid-0"}))
    yield running(talk, hosts=(replace(HOST, ready=False),))
    yield running(talk, hosts=())
    for news in (
        told(),
        told(phase="Failed"),
        told(beginning="Resumed"),
        told(durable=True),
        *(told(durable=False, store_problem=problem) for problem in STORE_PROBLEMS),
    ):
        yield running(talk, news=news, heard=True)


# Hybrid


def hybrid() -> Iterator[Around]:
    """Yield sessions that sleep, wake, are awake, and cannot wake."""
    nap = make_nap()
    asked = nap.with_status(last_request_time=NOW)
    yield Around(nap.build())
    yield Around(make_nap(suspended=True).build())
    yield Around(make_nap(sessionStore=None).build())
    yield Around(make_nap(workspace={"storage": "1Gi", "archive": {"s3": {"bucket": "attic"}}}).build())
    yield Around(asked.build())
    yield Around(asked.build(), fork_problem="There is none.")
    yield pooled(make_pooled().with_status(last_request_time=NOW))
    for state in (*ON_THE_WAY, serving(), not_ready(), kubelet.creating("CrashLoopBackOff")):
        yield own_pod(asked, state)
    for warning in WARNINGS:
        yield replace(own_pod(asked, kubelet.creating()), warnings=[warning])
    yield replace(own_pod(asked, kubelet.pending()), pods=(), hosts=())
    yield lost_again(asked)
    yield fallen_back(asked)
    for limits in BOUNDS:
        yield Around(
            make_nap(limits=limits).with_status(usage=Usage(turns=1)).with_meta(creation_timestamp=OLD).build()
        )
    yield running(make_pooled().with_status(last_request_time=NOW), news=told(put_away=True), heard=True)
    for reason in sorted(WOKEN_IN_VAIN):
        yield in_vain(asked, reason)


def own_pod(maker: SessionMaker, state: Json) -> Around:
    """Return a session whose own pod is in this state."""
    pod = make_pod(maker.build(), 1).with_status(state)
    facts = pod.facts()
    session = maker.on_pod(facts).with_status(wakes=1, answered_request_time=NOW).build()
    return Around(session, pods=(facts,), hosts=(host_facts(pod.body),), heard=True)


def fallen_back(maker: SessionMaker) -> Around:
    """Return a session whose image did not start, which runs in its former one."""
    around = own_pod(maker, serving())
    rollout = SessionRollout(current_image="agent:1", failed_image=make_settings(around.session, GATEWAY).fields.image)
    status = around.session.status.model_copy(update={"rollout": rollout})
    return replace(around, session=around.session.model_copy(update={"status": status}))


def lost_again(maker: SessionMaker) -> Around:
    """Return a session that has just lost its pod, as it lost others before."""
    around = replace(own_pod(maker, kubelet.pending()), pods=(), hosts=())
    status = decide(around, NOW, GATEWAY).status
    status = status.model_copy(update={"failures": 3, "host": Host(pod="another", pod_uid="uid")})
    return replace(around, session=around.session.model_copy(update={"status": status}))


def in_vain(maker: SessionMaker, reason: str) -> Around:
    """Return a session that its host has refused for long."""
    around = own_pod(maker, serving())
    refused = blocked(around, reason, "It is refused.", NOW - timedelta(days=1)).status
    return replace(around, session=around.session.model_copy(update={"status": refused}))


def _answers() -> None:
    """Have hosts take a session that comes back, or refuse it, and the API server refuse its pod."""
    for around in (own_pod(make_nap(), serving()), pooled(make_talk(NAME, UID))):
        back = around.session.status.model_copy(update={"start_time": NOW})
        around = replace(around, session=around.session.model_copy(update={"status": back}))
        settings = make_settings(around.session, GATEWAY)
        given = Handover(around.hosts[0], activation(around.session, settings, around.pool))
        for beginning in Beginning:
            answers.accepted(around, Step(back), given, told(beginning=beginning), NOW, GATEWAY)
        for error in (*REFUSALS.values(), StorageTrouble(409, "unheard-of", "")):
            answers.refused(around, given, error, NOW, GATEWAY)
    around = Around(make_nap().build())
    for applied in (*REFUSED, Applied(pod_in_the_way=NAME)):
        acted(around, Step(AgentSessionStatus()), applied, NOW)
    ownpod.queued(around, Step(AgentSessionStatus()), LINE, NOW)


def _deletions() -> None:
    """Delete a session with all that it has stored, and with what cannot be removed."""
    around = Around(make_nap(sessionStore=FORGETFUL).with_status(wakes=1).deleting().build())
    for since in (timedelta(), timedelta(days=1)):
        forgetting.forget(around, free=True, since=since, now=NOW, config=GATEWAY)


# Pools


def _pools() -> None:
    """Have pools be reconciled whose hosts come, serve, are replaced, cannot start, or may not be made."""
    for states in ((serving(), serving()), (serving(), not_ready()), (serving(), kubelet.creating("CrashLoopBackOff"))):
        _reconcile(in_pool(), states)
    _reconcile(in_pool(), (kubelet.crash_loop(3), kubelet.crash_loop(3)))
    for state in ON_THE_WAY:
        _reconcile(in_pool(), (serving(), state))
    for warning in WARNINGS:
        on = in_pool()
        involved = {"involvedObject": {"uid": "pod-uid-1"}, "type": "Warning"}
        meta = {"name": "warning", "namespace": NAMESPACE}
        on.world.add(CORE_EVENTS, {"metadata": meta, "reason": warning.reason, "message": warning.message} | involved)
        on.idle(60)
        _reconcile(on, (serving(), kubelet.pending()))
    _reconcile(in_pool(), (not_ready(), not_ready()))
    rules: tuple[Json, ...] = ({}, {"onFailure": "Pause"}, {"paused": True})
    for rule, state in product(rules, (not_ready(), kubelet.creating("ErrImagePull"))):
        _roll_out(rule, state)
    _reconcile(in_pool(templateRef={"name": "missing"}), ())
    _reconcile(in_pool(), (), GATEWAY)
    on = in_pool()
    on.world.refusals["POST statefulsets"] = "quota"
    _reconcile(on, ())
    for name in ("chat-0", "chat-1"):
        on.world.remove(PODS, NAMESPACE, name)
    on.world.refusals.clear()
    _reconcile(on, ())


def _roll_out(rule: Json, state: Json) -> None:
    """Have a pool go over to other settings, with which its second host stays in this state for long."""
    on = in_pool(rollout=rule)
    _reconcile(on, (serving(), serving()))
    (made,) = on.world.of(STATEFUL_SETS)
    template, owner = made["spec"]["template"], {"uid": made["metadata"]["uid"], "controller": True}
    meta = {"name": "old", "namespace": NAMESPACE, "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
    on.world.add(CONTROLLER_REVISIONS, {"metadata": meta, "data": {"spec": {"template": template}}})
    on.world.put_template(image="registry.test/agent:2")
    _look_at_pool(on, CONFIG)
    on.idle(3600)
    _reconcile(on, (serving(), state))
    _reconcile(on, (serving(), serving()))


def _reconcile(on: Stage, states: tuple[Json, ...], config: OperatorConfig = CONFIG) -> None:
    """Reconcile a pool whose hosts are in these states; first of older settings, then as the pool makes them."""
    for _ in range(2):
        for number, state in enumerate(states):
            body = on.world.objects[PODS, NAMESPACE, f"chat-{number}"]
            body["spec"]["containers"] = [{"name": CONTAINER, "image": "registry.test/agent:1"}]
            on.world.set_pod(body, state)
        _look_at_pool(on, config)
        (pool,) = on.world.of(POOLS)
        for pod in on.world.pods():
            pod["metadata"]["annotations"] = {ANNOTATION_TEMPLATE_HASH: pool["status"].get("templateHash", "")}


def _look_at_pool(on: Stage, config: OperatorConfig) -> None:
    """Reconcile a pool once."""
    reconciler = PoolReconciler(on.world, config, on.lasting, lambda: on.world.now)  # type: ignore[arg-type]
    finish(reconciler.reconcile((NAMESPACE, "chat")))
