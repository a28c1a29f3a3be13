"""Whether a user may: Kubernetes' own rules (SubjectAccessReview), on parts of our resources."""

from dataclasses import dataclass, field

from agentsessions.api.base import GROUP
from agentsessions.directory import metrics
from agentsessions.directory.cache import Cache
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.identity import User
from agentsessions.directory.paths import Kind, Target
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import ACCESS_REVIEWS

_RESOURCES = {Kind.NAMED: "agentsessions", Kind.IMPLICIT: "agentpools"}


@dataclass
class Access:
    """Asks the API server, and keeps what it says for a while."""

    kube: Kube
    config: DirectoryConfig
    _known: Cache[bool] = field(init=False)

    def __post_init__(self) -> None:
        """Keep answers for as long as a right that is taken back may still hold."""
        self._known = Cache(lambda _: self.config.review_cache_seconds)

    async def allows(self, user: User, target: Target) -> bool:
        """Return whether the user may do what the request asks for. Raises KubeError."""
        key = (user, target.kind, target.namespace, target.name, target.subresource, target.verb)
        return await self._known.get(key, lambda: self._review(user, target))

    async def _review(self, user: User, target: Target) -> bool:
        metrics.reviews.labels("access").inc()
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra},
            "resourceAttributes": {
                "group": GROUP,
                "resource": _RESOURCES[target.kind],
                "subresource": target.subresource,
                "namespace": target.namespace,
                "name": target.name,
                "verb": target.verb,
            },
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self.kube.review(ACCESS_REVIEWS, body)
        return bool(answer.get("status", {}).get("allowed"))
