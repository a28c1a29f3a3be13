"""The Prometheus metrics of the operator, but for those of pools, and the functions that move them.

No label carries a session's name, a uid or an error text: their number has no bound.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agentsessions.api.bounds import OF_A_TURN
from agentsessions.api.conditions import LIMITED, Reason
from agentsessions.api.rollout import SessionRollout
from agentsessions.api.status import Usage
from agentsessions.api.termination import ReportReason

REGISTRY = CollectorRegistry()

_START_BUCKETS = (0.25, 0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300)
_LIFE_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
_WAIT_BUCKETS = (0, 1, 5, 15, 60, 300, 900, 3600, 14_400)
_PASS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

reconciles = Counter("agentsessions_reconciles_total", "Reconciliations by outcome.", ["outcome"], registry=REGISTRY)
reconcile_seconds = Histogram(
    "agentsessions_reconcile_duration_seconds", "Time of one reconciliation.", buckets=_PASS_BUCKETS, registry=REGISTRY
)
queue_depth = Gauge(
    "agentsessions_queue_depth",
    "Sessions, of whatever state, that the operator is about to look at.",
    registry=REGISTRY,
)
reconcile_queue_oldest = Gauge(
    "agentsessions_reconcile_queue_oldest_age_seconds",
    "For how long the oldest of the sessions has waited that something happened to; 0 if none waits.",
    registry=REGISTRY,
)
longest_running = Gauge(
    "agentsessions_reconcile_longest_running_seconds",
    "For how long the oldest of the reconciliations has run that run now; 0 if none does.",
    registry=REGISTRY,
)
loop_lag = Histogram(
    "agentsessions_event_loop_lag_seconds",
    "How much later than it had asked for something was woken by the event loop, twice a second.",
    buckets=_PASS_BUCKETS,
    registry=REGISTRY,
)
queue_sessions = Gauge(
    "agentsessions_queue_sessions",
    "Sessions that wait for their turn to start a pod.",
    ["namespace"],
    registry=REGISTRY,
)
queue_oldest = Gauge(
    "agentsessions_queue_oldest_timestamp_seconds",
    "Since when the session waits for its turn that has done so for longest; 0 if none does.",
    ["namespace"],
    registry=REGISTRY,
)
queue_seconds = Histogram(
    "agentsessions_queue_wait_seconds",
    "Time that sessions waited for their turn to start a pod; 0 for those that did not have to.",
    buckets=_WAIT_BUCKETS,
    registry=REGISTRY,
)
admitted = Counter(
    "agentsessions_admitted_total",
    "Pods that sessions were let start: at-once, or after the session was queued.",
    ["outcome"],
    registry=REGISTRY,
)
sessions = Gauge(
    "agentsessions_sessions",
    "Sessions by the reason of their Ready condition.",
    ["namespace", "reason"],
    registry=REGISTRY,
)
start_seconds = Histogram(
    "agentsessions_session_start_duration_seconds",
    "Time from the session's creation until its agent ran; not of Hybrid ones, which may sleep for days before.",
    buckets=_START_BUCKETS,
    registry=REGISTRY,
)
duration_seconds = Histogram(
    "agentsessions_session_duration_seconds",
    "Time from the session's creation until it finished.",
    ["outcome"],
    buckets=_LIFE_BUCKETS,
    registry=REGISTRY,
)
attempts_failed = Counter(
    "agentsessions_attempts_failed_total", "Attempts that ended without success.", ["reason"], registry=REGISTRY
)
tokens = Counter(
    "agentsessions_tokens_total",
    "Tokens of sessions, counted when their status tells of them: of Ephemeral ones at the end of each attempt.",
    ["namespace", "kind"],
    registry=REGISTRY,
)
cost = Counter(
    "agentsessions_cost_dollars_total",
    "Price of sessions in US dollars, counted like tokens.",
    ["namespace"],
    registry=REGISTRY,
)
turns = Counter(
    "agentsessions_turns_total", "Model turns of sessions, counted like tokens.", ["namespace"], registry=REGISTRY
)
placements = Counter(
    "agentsessions_placements_total",
    "Sessions that were given a host of a pool: their first one, or another after they slept or theirs was lost.",
    ["outcome"],
    registry=REGISTRY,
)
activations = Counter(
    "agentsessions_activations_total",
    "Sessions that were handed to their host, by its answer.",
    ["outcome"],
    registry=REGISTRY,
)
activation_seconds = Histogram(
    "agentsessions_activation_duration_seconds",
    "Time that a host took to accept a session.",
    buckets=_PASS_BUCKETS,
    registry=REGISTRY,
)
wakes = Counter(
    "agentsessions_wakes_total",
    "Sessions that were woken, by what was to take them: own-pod or pool.",
    ["outcome"],
    registry=REGISTRY,
)
wake_seconds = Histogram(
    "agentsessions_wake_duration_seconds",
    "Time from the status that says that a session wakes to the one that says that it runs, by the operator's clock.",
    buckets=_START_BUCKETS,
    registry=REGISTRY,
)
oldest_wake = Gauge(
    "agentsessions_oldest_wake_timestamp_seconds",
    "Since when the session wakes that has been at it for longest; 0 if none does.",
    registry=REGISTRY,
)
put_aways = Counter(
    "agentsessions_put_aways_total", "Sessions that were put away: stored, and their pod given up.", registry=REGISTRY
)
put_aways_refused = Counter(
    "agentsessions_put_aways_refused_total",
    "Sessions that a host did not put away when it was asked to; Busy is no fault.",
    ["reason"],
    registry=REGISTRY,
)
expired = Counter(
    "agentsessions_sessions_expired_total",
    "Sessions that were deleted since their time was over: finished (ttlSecondsAfterFinished) or idle "
    "(ttlSecondsAfterIdle).",
    ["outcome"],
    registry=REGISTRY,
)
not_durable = Gauge(
    "agentsessions_transcripts_not_durable",
    "Sessions of which the session store lacks something, by the reason of their TranscriptDurable condition.",
    ["namespace", "reason"],
    registry=REGISTRY,
)
resumes = Counter(
    "agentsessions_resumes_total",
    "Conversations that a host took up, or refused to, by the reason of the session's Resumed condition.",
    ["outcome"],
    registry=REGISTRY,
)
turns_interrupted = Counter(
    "agentsessions_turns_interrupted_total",
    "Turns that a lost pod cut, as they were found when the conversation was taken up.",
    registry=REGISTRY,
)
limits_reached = Counter(
    "agentsessions_limits_reached_total",
    "Conversations that reached a bound of their own, and turns that ended at one, by the reason that is told.",
    ["reason"],
    registry=REGISTRY,
)
store_repairs = Counter(
    "agentsessions_store_repairs_total",
    "Transcripts of which a session store had lost something, and which were written anew.",
    registry=REGISTRY,
)
leading = Gauge(
    "agentsessions_leader",
    "1 while this replica leads; always 1 where there is but one and no election.",
    registry=REGISTRY,
)
host_streams = Gauge("agentsessions_host_streams_connected", "Hosts whose events are followed.", registry=REGISTRY)
api_requests = Counter(
    "agentsessions_kubernetes_requests_total",
    "Requests to the Kubernetes API; code 0 means no answer.",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
api_throttled = Counter(
    "agentsessions_kubernetes_throttled_seconds_total",
    "Time that requests to the Kubernetes API waited for their turn: by qps, or since it had answered 429.",
    registry=REGISTRY,
)
clock_ahead = Gauge(
    "agentsessions_clock_ahead_seconds",
    "How far the operator's wall clock is ahead of the API server's, whose time it goes by; negative if it is behind.",
    registry=REGISTRY,
)
watch_synced = Gauge(
    "agentsessions_watch_synced",
    "1 once a watch has delivered everything that there was; 0 while its first listing is under way.",
    ["resource"],
    registry=REGISTRY,
)
watch_delivered = Gauge(
    "agentsessions_watch_last_delivery_timestamp_seconds",
    "When a watch last delivered something.",
    ["resource"],
    registry=REGISTRY,
)
watch_lag = Gauge(
    "agentsessions_watch_objects_behind",
    "Objects whose newest version a watch has not delivered, at the last audit.",
    ["resource"],
    registry=REGISTRY,
)
last_audit = Gauge(
    "agentsessions_watch_last_audit_timestamp_seconds", "When the watches were last audited.", registry=REGISTRY
)
session_rollouts = Counter(
    "agentsessions_session_image_changes_total",
    "Sessions with a pod of their own: moved off an image that is not that of their settings any more, or rolled-back "
    "to their former image since the new one did not start.",
    ["outcome"],
    registry=REGISTRY,
)
build_info = Gauge("agentsessions_build_info", "Version of the operator; always 1.", ["version"], registry=REGISTRY)

_KNOWN_REASONS = frozenset({*Reason, *ReportReason, "Unknown"})
_FOUND = (
    Reason.TRANSCRIPT_FOUND,
    Reason.TRANSCRIPT_MISSING,
    Reason.TRANSCRIPT_TRUNCATED,
    Reason.TRANSCRIPT_DIVERGED,
)
for _outcome in _FOUND:  # from 0 on: Prometheus sees no increase in a series that begins with 1
    resumes.labels(_outcome)
for _turn in ("at-once", "queued"):
    admitted.labels(_turn)
for _over in ("finished", "idle"):
    expired.labels(_over)
for _end in ("moved", "rolled-back"):
    session_rollouts.labels(_end)
for _bound in (*LIMITED, *OF_A_TURN):
    limits_reached.labels(_bound)


def known(reason: str) -> str:
    """Return the reason as a label: an image of another's making may invent reasons, which are one here."""
    return reason if reason in _KNOWN_REASONS else "Other"


def attempt_failed(reason: str) -> None:
    """Count an attempt that failed."""
    attempts_failed.labels(known(reason)).inc()


def session_finished(outcome: str, seconds: float) -> None:
    """Count a session that finished, each time that it does."""
    duration_seconds.labels(outcome).observe(seconds)


def spent(namespace: str, usage: Usage, dollars: float) -> None:
    """Count what was used since the last count."""
    turns.labels(namespace).inc(usage.turns)
    cost.labels(namespace).inc(dollars)
    kinds = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_creation": usage.cache_creation_tokens,
    }
    for kind, count in kinds.items():
        tokens.labels(namespace, kind).inc(count)


def session_rolled(before: SessionRollout | None, after: SessionRollout | None) -> None:
    """Count a session that was given its former image back."""
    if after is not None and after.failed_image not in (None, before.failed_image if before else None):
        session_rollouts.labels("rolled-back").inc()
