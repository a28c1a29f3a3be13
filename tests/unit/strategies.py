"""Made-up templates and sessions, as wild as the CRD allows."""

from hypothesis import strategies as st

from agentsessions.api.session import AgentSession
from agentsessions.api.template import TemplateFields
from unit.make import make_session

WORDS = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
LABELS = st.dictionaries(WORDS, WORDS, max_size=3)
CPU = st.sampled_from(["1", "2", "100m", "1500m", "0.5", "1m", "1k"])
BYTES = st.sampled_from(["1Gi", "512Mi", "1000000", "5G"])
ENV_NAMES = st.sampled_from(
    ["HOME", "PATH", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "CLAUDE_CONFIG_DIR", "TMPDIR", "A", "B"]
) | st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
PROMPTS = st.text(min_size=1, max_size=40).map(lambda text: f"SECRET-TASK {text}")


def _some(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Return an object that has any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


PEERS = st.one_of(
    st.fixed_dictionaries({"cidr": st.sampled_from(["10.0.0.0/8", "fd00::/8"]), "port": st.integers(1, 65535)}),
    st.fixed_dictionaries({"namespace": WORDS, "port": st.integers(1, 65535)}, optional={"podLabels": LABELS}),
    st.fixed_dictionaries({"podLabels": LABELS, "port": st.integers(1, 65535)}),
)
EGRESS = st.lists(PEERS, max_size=3)
REQUESTS = _some(cpu=CPU, memory=BYTES, ephemeralStorage=BYTES)
ENV = st.lists(
    st.fixed_dictionaries({"name": ENV_NAMES, "value": st.text(max_size=8)}),
    max_size=4,
    unique_by=lambda e: str(e["name"]),
)

TEMPLATES = _some(
    image=st.just("registry.test/x:1"),
    imagePullPolicy=st.sampled_from(["Always", "IfNotPresent", "Never"]),
    imagePullSecrets=st.lists(st.fixed_dictionaries({"name": WORDS}), max_size=2, unique_by=lambda s: s["name"]),
    agent=_some(model=WORDS, maxTurns=st.integers(1, 99), tools=st.lists(WORDS, max_size=2, unique=True)),
    resources=_some(cpu=CPU, memory=BYTES, ephemeralStorage=BYTES, requests=REQUESTS),
    workspace=_some(storage=BYTES, storageClassName=WORDS),
    security=_some(runtimeClassName=WORDS, hostUsers=st.booleans()),
    modelEndpoint=_some(baseUrl=st.just("http://other.test"), egress=EGRESS),
    networkPolicy=_some(egress=EGRESS),
    limits=_some(activeDeadlineSeconds=st.integers(1, 10**6), startDeadlineSeconds=st.integers(1, 10**6)),
    contentLogging=st.sampled_from(["Omit", "Include"]),
    promptEnvironmentVariable=st.sampled_from(["TASK_PROMPT", "PROMPT"]),
    env=ENV,
    nodeSelector=LABELS,
    tolerations=st.lists(_some(key=WORDS, effect=st.just("NoSchedule")), max_size=2),
    priority=st.integers(-10, 10),
    priorityClassName=WORDS,
    terminationGracePeriodSeconds=st.integers(0, 600),
).map(TemplateFields.model_validate)


@st.composite
def sessions(draw: st.DrawFn) -> AgentSession:
    """Return a session with overrides of its own, and the prompt in either of its two places."""
    maker = make_session(draw(WORDS))
    maker = draw(st.sampled_from([maker.with_prompt_secret("own", "key"), maker.with_spec(prompt=draw(PROMPTS))]))
    return (
        maker.with_spec(**{})
        .build()
        .model_copy(update={"spec": maker.with_spec().build().spec.model_copy(update=dict(draw(TEMPLATES)))})
    )
