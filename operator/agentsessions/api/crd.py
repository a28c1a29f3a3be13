"""The CustomResourceDefinitions, made from the models; `make crds` writes them to crds/."""

from pydantic import BaseModel

from agentsessions.api.base import GROUP, VERSION, Json, cel, rule
from agentsessions.api.pool import AgentPoolSpec, AgentPoolStatus
from agentsessions.api.schema import structural_schema
from agentsessions.api.session import AgentSessionSpec
from agentsessions.api.status import AgentSessionStatus
from agentsessions.api.template import AgentTemplateSpec

_READY = '.status.conditions[?(@.type=="Ready")]'

_SESSION_DOC = (
    "An AgentSession is one conversation with an agent and its workspace. Create it and an agent starts to work on "
    "`spec.prompt` in a pod of its own; its answer, turns, tokens and cost appear in `status`. What the session does "
    "not say comes from an AgentTemplate, then from the operator's defaults."
)
_TEMPLATE_DOC = (
    "An AgentTemplate says how agents of a kind run: image, model, tools, resources, workspace and network. Sessions "
    "name it in `spec.templateRef`; the template called `default` serves the sessions of its namespace that name none."
)

_POOL_DOC = (
    "An AgentPool is a number of hosts, made from an AgentTemplate, that hold many LongRunning sessions each. A "
    "session is placed on a host by consistent hashing and stays there while the host lives. Scale it by "
    "`kubectl scale`, a HorizontalPodAutoscaler or `spec.autoscaling`."
)


def column(name: str, path: str, kind: str = "string", *, wide: bool = False, doc: str = "") -> Json:
    """Return one printer column; wide ones show with `-o wide` only."""
    out: Json = {"name": name, "type": kind, "jsonPath": path}
    return out | ({"priority": 1} if wide else {}) | ({"description": doc} if doc else {})


_AGE = column("Age", ".metadata.creationTimestamp", "date")

_SESSION_COLUMNS = [
    column("Pattern", ".spec.pattern"),
    column("Ready", f"{_READY}.status"),
    column("Reason", f"{_READY}.reason"),
    column("Turns", ".status.usage.turns", "integer"),
    column("Cost", ".status.usage.costUsd", doc="US dollars."),
    column("Model", ".status.resolved.model", wide=True),
    column("Pod", ".status.host.pod", wide=True),
    column("Node", ".status.host.node", wide=True),
    column("Restarts", ".status.restarts", "integer", wide=True),
    column("Queue", ".status.queue.position", "integer", wide=True, doc="Place in the line of its namespace."),
    _AGE,
]
_TEMPLATE_COLUMNS = [
    column("Image", ".spec.image"),
    column("Model", ".spec.agent.model"),
    column("Storage", ".spec.workspace.storage", wide=True),
    _AGE,
]

_POOL_COLUMNS = [
    column("Ready", f"{_READY}.status"),
    column("Reason", f"{_READY}.reason"),
    column("Hosts", ".status.readyReplicas", "integer"),
    column("Desired", ".status.desiredReplicas", "integer"),
    column("Sessions", ".status.sessions", "integer"),
    column("Capacity", ".status.capacity.sessions", "integer"),
    column("Template", ".spec.templateRef.name", wide=True),
    _AGE,
]


def session_crd() -> Json:
    """Return the CRD of AgentSession."""
    name_rule = rule("size(self.metadata.name) <= 63", "`metadata.name` must have at most 63 characters")
    schema = _root(_SESSION_DOC, AgentSessionSpec, AgentSessionStatus) | cel(name_rule)
    fields = [{"jsonPath": ".spec.pattern"}, {"jsonPath": ".status.resolved.template"}]
    version = _version(schema, _SESSION_COLUMNS) | {"subresources": {"status": {}}, "selectableFields": fields}
    return _crd("AgentSession", "agentsessions", "asess", version)


def template_crd() -> Json:
    """Return the CRD of AgentTemplate; it has no status, being read and never reconciled."""
    schema = _root(_TEMPLATE_DOC, AgentTemplateSpec, None)
    return _crd("AgentTemplate", "agenttemplates", "atpl", _version(schema, _TEMPLATE_COLUMNS))


def pool_crd() -> Json:
    """Return the CRD of AgentPool."""
    # The name of a host is the pool's and a number, and must be a label value.
    name_rule = rule("size(self.metadata.name) <= 50", "`metadata.name` must have at most 50 characters")
    schema = _root(_POOL_DOC, AgentPoolSpec, AgentPoolStatus) | cel(name_rule)
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = _version(schema, _POOL_COLUMNS) | {"subresources": {"status": {}, "scale": scale}}
    return _crd("AgentPool", "agentpools", "apool", version)


def all_crds() -> dict[str, Json]:
    """Return every CRD by its file name."""
    crds = (session_crd(), template_crd(), pool_crd())
    return {f"{crd['metadata']['name']}.yaml": crd for crd in crds}


def _root(doc: str, spec: type[BaseModel], status: type[BaseModel] | None) -> Json:
    """Return the schema of the whole object."""
    properties: Json = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": structural_schema(spec),
    }
    if status is not None:
        properties["status"] = structural_schema(status)
    return {"type": "object", "description": doc, "required": ["spec"], "properties": properties}


def _version(schema: Json, columns: list[Json]) -> Json:
    """Return the one served and stored version."""
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }


def _crd(kind: str, plural: str, short: str, version: Json) -> Json:
    """Return the CustomResourceDefinition around one version."""
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
        "categories": ["agents"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "agentsessions"}},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }
