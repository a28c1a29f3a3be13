"""Which sessions there are, as `kubectl get agentsessions,agentpools -o json` says: whose conversations must stay.

A list that may not be whole, or not of the right namespace, is refused: what is not in it is deleted.
"""

import json
import sys
from pathlib import Path

from pydantic import Field, ValidationError

from agentrunner.errors import InvalidInput
from agentsessions.api.base import API_VERSION, ApiModel

_COMMAND = "kubectl get agentsessions,agentpools --namespace {namespace} --output json"


class _Meta(ApiModel):
    name: str
    namespace: str
    uid: str


class _Spec(ApiModel):
    implicit_sessions: bool = False


class _Status(ApiModel):
    session_id: str | None = None


class _Thing(ApiModel):
    api_version: str
    kind: str
    metadata: _Meta
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _List(ApiModel):
    kind: str = Field(pattern="List$")
    items: list[_Thing]


def read_living(source: str, prefix: str, *, none: bool, implicit_too: bool) -> frozenset[str]:
    """Return the ids of the sessions in a file (`-`: stdin); `none` is whether there may be none, as the user says.

    Raises InvalidInput unless the list is one of sessions of the prefix's namespace alone. So it does for a pool that
    takes ids without a resource, which no list has, until the user says by `implicit_too` that they are meant as well.
    """
    namespace = prefix.rpartition("/")[2]
    things = _read(source, namespace)
    strangers = sorted({one.metadata.namespace for one in things} - {namespace})
    if strangers:
        raise InvalidInput(
            f"--living: has objects of the namespace {strangers[0]}, and --prefix is of {namespace}: use the output of "
            f"`{_COMMAND.format(namespace=namespace)}`"
        )
    pools = [one.metadata.name for one in things if one.kind == "AgentPool" and one.spec.implicit_sessions]
    if pools and not implicit_too:
        raise InvalidInput(
            f"the pool {pools[0]} takes ids without a resource (`implicitSessions`), and these are in no list: with "
            "--implicit-too their conversations are deleted as well once they are old enough"
        )
    sessions = [one for one in things if one.kind == "AgentSession"]
    if not sessions and not none:
        raise InvalidInput("--living: has no session: if there really is none any more, say so by --none-living")
    return frozenset({one.metadata.uid for one in sessions} | {one.status.session_id or "" for one in sessions})


def _read(source: str, namespace: str) -> list[_Thing]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        things = _List.model_validate(json.loads(text)).items
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--living: cannot be read ({type(error).__name__})") from None
    except (ValueError, ValidationError):
        raise InvalidInput(
            f"--living: is not a whole list of objects: use the output of `{_COMMAND.format(namespace=namespace)}`"
        ) from None
    if foreign := next((one for one in things if one.api_version != API_VERSION), None):
        raise InvalidInput(f"--living: has a {foreign.kind} of {foreign.api_version}, not of {API_VERSION}")
    return things
