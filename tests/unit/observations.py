"""What an operator may see: every value that a field can have, in any combination, whether it makes sense or not."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from agentsessions.api.conditions import ConditionType, Reason, State
from agentsessions.api.host import Beginning, HostSession, Phase
from agentsessions.api.names import cleanup_name, pod_name
from agentsessions.api.pool import AgentPool, AgentPoolStatus
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus, Condition, Host, Resolved, Termination, Transcript, Usage
from agentsessions.api.template import TemplateFields
from agentsessions.policies.facts import Ended, PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.startup import Diagnosis, PodWarning
from agentsessions.reconcile.longrunning.model import Around
from agentsessions.reconcile.model import Observed
from agentsessions.reconcile.pools.model import PoolSeen
from unit import hybrid, make
from unit.hosts.fakehost import make_host_session
from unit.hybrid import STORE, make_nap, make_pooled
from unit.lasting import make_pool, make_talk
from unit.make import SessionMaker, later, make_report, make_session, make_settings
from unit.situations import DONE

TIMES = st.sampled_from([later(seconds) for seconds in (-1_000_000, -3601, -61, -31, -1, 0, 1, 3600)])
MAYBE = st.none() | TIMES
COUNTS = st.integers(0, 4)
REASONS = st.sampled_from([*map(str, Reason), "Odd"])
WORDS = st.sampled_from(["", "words", 'secret "model" not found', "{"])
POD_UIDS = st.sampled_from([f"uid-{number}" for number in range(4)])


def builds(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects of a model or a dataclass, with any of the values that its fields may have."""
    return st.fixed_dictionaries(fields).map(lambda chosen: kind(**chosen))


def _conditions() -> st.SearchStrategy[list[Condition]]:
    made = builds(
        Condition,
        type=st.sampled_from([str(kind) for kind in ConditionType]),
        status=st.sampled_from(["True", "False", "Unknown"]),
        reason=REASONS,
        message=WORDS,
        last_transition_time=TIMES,
        observed_generation=st.sampled_from([None, 1, 2]),
    )
    return st.lists(made, max_size=4, unique_by=lambda one: one.type)


def _names(uid: str, name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*(pod_name(name, uid, number) for number in range(4)), cleanup_name(name, uid), "chat-0"])


def _hosts_of(uid: str, name: str) -> st.SearchStrategy[Host]:
    return builds(Host, pod=_names(uid, name), pod_uid=st.none() | POD_UIDS, node=st.sampled_from([None, "n1"]))


def statuses(uid: str, name: str) -> st.SearchStrategy[AgentSessionStatus]:
    """Return statuses of a session; a third of them are of one that nobody has seen yet."""
    any_status = builds(
        AgentSessionStatus,
        conditions=_conditions(),
        host=st.none() | _hosts_of(uid, name),
        resolved=st.none()
        | builds(
            Resolved,
            template_hash=st.sampled_from([None, "old"]),
            storage=st.sampled_from([None, "1Gi"]),
            active_deadline_seconds=st.sampled_from([None, 60, 3600]),
        ),
        usage=st.none() | st.just(Usage(turns=3, cost_usd="0.5")) | st.just(Usage(cost_usd="odd")),
        transcript=st.none() | st.just(Transcript(entries=2)),
        last_request_time=MAYBE,
        answered_request_time=MAYBE,
        suspend_time=MAYBE,
        start_time=MAYBE,
        completion_time=st.none() | st.none() | TIMES,
        wakes=COUNTS,
        restarts=COUNTS,
        failures=COUNTS,
        last_termination=st.none()
        | builds(
            Termination,
            reason=REASONS,
            finished_at=MAYBE,
            pod=_names(uid, name),
            pod_uid=POD_UIDS,
        ),
    )
    return st.just(AgentSessionStatus()) | any_status | any_status


def pods(uid: str, name: str, hashes: list[str]) -> st.SearchStrategy[list[PodFacts]]:
    """Return pods that bear the labels of a session: its own, others, of any attempt, in any state."""
    ended = builds(
        Ended,
        exit_code=st.sampled_from([0, 1, 2, 137, 143, 255]),
        reason=st.sampled_from(["", "Completed", "Error", "OOMKilled", "ContainerStatusUnknown"]),
        message=st.sampled_from(
            ["", DONE, make_report("Failed", "Interrupted"), make_report("Running"), "{", "{}", "x"]
        ),
        finished_at=MAYBE,
    )
    waiting = ["", "", "ContainerCreating", "ErrImagePull", "CreateContainerError", "CrashLoopBackOff"]
    pod = builds(
        PodFacts,
        name=_names(uid, name),
        uid=POD_UIDS,
        resource_version=st.just("7"),
        attempt=st.integers(-1, 4),
        phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]),
        created=TIMES,
        owner_uid=st.sampled_from([uid, uid, uid, "another", ""]),
        deleting=st.booleans(),
        gone_by=MAYBE,
        accepted=MAYBE,
        reason=st.sampled_from(["", "Evicted", "DeadlineExceeded", "Odd"]),
        message=WORDS,
        template_hash=st.sampled_from(["", *hashes]),
        waiting_reason=st.sampled_from(waiting),
        waiting_message=WORDS,
        running=st.booleans(),
        ended=st.none() | ended,
        unschedulable=WORDS,
        disrupted=WORDS,
        disrupted_by=st.sampled_from(["", "DeletionByPodGC", "DeletionByTaintManager", "EvictionByEvictionAPI"]),
        cut_off=st.booleans(),
        restarted=st.booleans(),
    )
    return st.lists(pod, max_size=3, unique_by=(lambda one: one.name, lambda one: one.uid))


WARNINGS = st.lists(
    builds(
        PodWarning,
        reason=st.sampled_from(["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Odd"]),
        message=WORDS,
    ),
    max_size=2,
)


@st.composite
def session(draw: st.DrawFn, makers: list[SessionMaker]) -> AgentSession:
    """Return one of the sessions with any status, perhaps on its way out."""
    maker = draw(st.sampled_from(makers))
    made = maker.with_meta(generation=draw(st.sampled_from([1, 2]))).build()
    gone = draw(st.sampled_from([None, None, None, make.NOW]))
    meta = made.metadata.model_copy(update={"deletion_timestamp": gone})
    return made.model_copy(update={"metadata": meta, "status": draw(statuses(meta.uid, meta.name))})


TASKS = [
    make_session().with_spec(restart_policy=policy, backoff_limit=limit, **more)
    for policy in ("OnFailure", "Never")
    for limit in (0, 3)
    for more in ({}, {"ttl_seconds_after_finished": 60}, {"pod_retention_policy": "Retain"})
]


@st.composite
def tasks(draw: st.DrawFn) -> Observed:
    """Return what may be seen around an Ephemeral session."""
    found = draw(session(TASKS))
    return Observed(
        found,
        template_problem=draw(st.sampled_from(["", "", "", "There is none."])),
        pods=tuple(draw(pods(make.UID, "hello", [make_settings().hash, "old"]))),
        warnings=tuple(draw(WARNINGS)),
    )


TALKS = [
    make_nap(),
    make_nap(suspended=True),
    make_nap(ttlSecondsAfterIdle=60),
    make_nap(sessionStore=STORE | {"onDelete": "Delete"}),
    make_nap(sessionStore=None),
    make_pooled(),
    make_pooled(suspended=True, ttlSecondsAfterIdle=60),
    make_talk(hybrid.NAME, hybrid.UID),
]
POOLS = [AgentPool.model_validate(make_pool(replicas)) for replicas in (0, 1)]
TEMPLATES = [None, *(TemplateFields.model_validate(one) for one in ({}, {"sessionStore": STORE}))]


def news() -> st.SearchStrategy[HostSession | None]:
    """Return what a host may tell of the session."""
    told = st.fixed_dictionaries(
        {
            "phase": st.sampled_from(list(Phase)),
            "beginning": st.sampled_from(list(Beginning)),
            "idle_since": MAYBE,
            "durable": st.sampled_from([None, True, False]),
            "store_problem": st.sampled_from([None, "StoreBehind", "Odd"]),
            "put_away": st.booleans(),
            "interrupted": st.booleans(),
            "fault": st.none()
            | builds(dict, reason=st.sampled_from(["ArchiveFailed", "Odd"]), message=WORDS, time=TIMES),
        }
    )
    return st.none() | told.map(lambda fields: make_host_session(hybrid.UID, hybrid.NAME, **fields))


def hosts(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[HostFacts]]:
    """Return hosts in any state."""
    made = builds(
        HostFacts,
        name=names,
        uid=POD_UIDS,
        ip=st.just("10.0.0.7"),
        ready=st.booleans(),
        deleting=st.booleans(),
        gone_by=MAYBE,
        template_hash=st.sampled_from(["", "old"]),
        owner_uid=st.just("sts"),
    )
    return st.lists(made, max_size=3, unique_by=(lambda one: one.name, lambda one: one.uid))


@st.composite
def talks(draw: st.DrawFn) -> Around:
    """Return what may be seen around a session that lasts; a session without a pool has its own pods for hosts."""
    found = draw(session(TALKS))
    pooled = found.spec.pool_ref is not None
    own = [] if pooled else draw(pods(hybrid.UID, hybrid.NAME, ["old"]))
    where = found.status.host
    seen = draw(pods(hybrid.UID, hybrid.NAME, [])) if where is not None and where.pod_uid else []
    seen = [one for one in seen if pooled or one.is_terminal]
    of_host = [replace(one, name=where.pod, uid=where.pod_uid) for one in seen if where and where.pod_uid]
    mirrored = [
        HostFacts(one.name, one.uid, "10.0.0.7", ready=draw(st.booleans()), deleting=one.deleting) for one in own
    ]
    return Around(
        found,
        pool=draw(st.sampled_from([None, *POOLS])) if pooled else None,
        pool_name="chat" if pooled else "",
        template=draw(st.sampled_from(TEMPLATES)),
        template_problem=draw(st.sampled_from(["", "", "", "There is none."])),
        hosts=tuple(draw(hosts(st.sampled_from(["chat-0", "chat-1", "chat-9"])))) if pooled else tuple(mirrored),
        loads=draw(st.dictionaries(st.sampled_from(["chat-0", "chat-1"]), COUNTS)),
        capacity=draw(st.dictionaries(st.sampled_from(["chat-0", "chat-1", "chat-9"]), COUNTS)),
        not_now=frozenset(draw(st.lists(POD_UIDS, max_size=2))),
        news=draw(news()),
        heard=draw(st.booleans()),
        drains=draw(st.booleans()),
        written=draw(MAYBE),
        pods=tuple(own),
        warnings=tuple(draw(WARNINGS)),
        host_pod=of_host[0] if of_host else None,
        given_up=draw(st.booleans()),
        fork_problem=draw(st.sampled_from(["", "", "There is none."])),
        cleanup=draw(st.none() | pods(hybrid.UID, hybrid.NAME, []).map(lambda found: found[0] if found else None)),
    )


TROUBLES = [
    Diagnosis(State.BLOCKED, Reason.IMAGE_PULL_FAILED, "x"),
    Diagnosis(State.BLOCKED, Reason.START_FAILED, "x"),
    Diagnosis(State.PROGRESSING, Reason.UNSCHEDULABLE, "x"),
    Diagnosis(State.PROGRESSING, Reason.AGENT_FAILED, "x"),
]


@st.composite
def pools(draw: st.DrawFn) -> PoolSeen:
    """Return what may be seen around a pool."""
    scaled: dict[str, Any] = {"autoscaling": {"maxReplicas": 3, "minReplicas": 1}}
    pool = AgentPool.model_validate(
        make_pool(draw(COUNTS), **draw(st.sampled_from([{}, scaled, {"hostMemory": "1Mi"}])))
    )
    status = AgentPoolStatus(conditions=draw(_conditions()), fewer_since=draw(MAYBE), desired_replicas=draw(COUNTS))
    replicas = draw(st.none() | COUNTS)
    return PoolSeen(
        pool.model_copy(update={"status": status}),
        template=draw(st.sampled_from(TEMPLATES)),
        template_problem=draw(st.sampled_from(["", "", "There is none."])),
        stateful_set=None if replicas is None else {"spec": {"replicas": replicas}},
        hosts=tuple(draw(hosts(st.sampled_from(["chat-0", "chat-1", "chat-9", "odd"])))),
        loads=draw(st.dictionaries(st.sampled_from(["chat-0", "chat-1", "gone-7"]), COUNTS)),
        waiting=draw(COUNTS),
        not_durable=draw(COUNTS),
        heard=frozenset(draw(st.lists(st.sampled_from(["chat-0", "chat-1"]), max_size=2))),
        silent=draw(st.sampled_from([frozenset(), frozenset({"uid-0"})])),
        trouble=draw(st.none() | st.sampled_from(TROUBLES)),
        written=draw(MAYBE),
    )
