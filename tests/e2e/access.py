"""Questions to the API server's authorizer: who may do what."""

from e2e.api import Api

_GROUPS = {
    "networkpolicies": "networking.k8s.io",
    "events": "events.k8s.io",
    "agentsessions": "agentsessions.dev",
    "agenttemplates": "agentsessions.dev",
    "agentpools": "agentsessions.dev",
    "statefulsets": "apps",
    "poddisruptionbudgets": "policy",
}


def may(api: Api, user: str, verb: str, resource: str, *, namespace: str = "default", subresource: str = "") -> bool:
    """Return whether RBAC lets the user do this."""
    attributes = {
        "verb": verb,
        "group": _GROUPS.get(resource, ""),
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes},
    }
    answer = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    return bool(answer["status"]["allowed"])
