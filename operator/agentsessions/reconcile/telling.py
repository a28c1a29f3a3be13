"""Posts events about what has changed, after it is written."""

from collections.abc import Iterable
from datetime import datetime

from agentsessions import logs
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import KubeError, NotFound
from agentsessions.kube.events import event
from agentsessions.kube.paths import EVENTS
from agentsessions.reconcile.model import Notice


async def post(
    subject: AgentSession | AgentPool, notices: Iterable[Notice], *, kube: Kube, now: datetime, reporter: str
) -> None:
    """Post events; what they are about is well without them, so a failure is only logged."""
    for notice in notices:
        body = event(
            subject,
            kind=notice.kind,
            reason=notice.reason,
            action=notice.action,
            note=notice.message,
            now=now,
            reporter=reporter,
        )
        try:
            await kube.create(EVENTS, body)
        except NotFound:
            return  # the namespace is going
        except KubeError as error:
            logs.warning("event not posted", reason=notice.reason, error=str(error))
