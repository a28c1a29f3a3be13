"""Names of sessions: `{prefix}/{project_key}/{session_id}[/{subpath}]`, and what may not be one.

The prefix is that of the tenant and the namespace. Names are compared whole and never searched by pattern, so that no
session of another prefix can be meant, whatever characters a name has.
"""

import re

from claude_agent_sdk import SessionKey, SessionListSubkeysKey

from agentrunner.stores.base import StoreRefused

RESERVED = ":"
"""No part begins with it: stores name their own records so."""

_MAX_BYTES = 255
_UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Keys:
    """The names under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = "/".join(_segments("prefix", prefix))

    def project(self, project_key: str) -> str:
        """Return the name of a project."""
        return f"{self.prefix}/{_part('project key', project_key)}"

    def session(self, key: SessionKey | SessionListSubkeysKey) -> str:
        """Return the name of a session, whether or not the key is that of a subkey."""
        return f"{self.project(key['project_key'])}/{_part('session id', key['session_id'])}"

    def text(self, key: SessionKey) -> str:
        """Return the name of what is stored under this key."""
        path = subpath(key)
        return f"{self.session(key)}/{path}" if path else self.session(key)

    def parse(self, text: str) -> SessionKey:
        """Return the key of a name; StoreRefused when it is not under the prefix."""
        head, _, rest = text.partition(f"{self.prefix}/")
        parts = rest.split("/", 2)
        if head or len(parts) < 2:
            raise StoreRefused("a name in the session store is not under its prefix")
        key: SessionKey = {"project_key": parts[0], "session_id": parts[1]}
        if len(parts) > 2:
            key["subpath"] = parts[2]
        self.text(key)
        return key


def subpath(key: SessionKey) -> str:
    """Return the subpath of a key; empty for the session's own transcript."""
    if "subpath" not in key:
        return ""
    return "/".join(_segments("subpath", key["subpath"]))


def _segments(what: str, path: str) -> list[str]:
    return [_part(what, segment) for segment in path.split("/")]


def _part(what: str, text: str) -> str:
    if text in ("", ".", "..") or "/" in text or text.startswith(RESERVED) or _UNUSABLE.search(text):
        raise StoreRefused(
            f"the {what} cannot be part of a name: empty, `.`, `..`, a slash, a control character, or `:` at its start"
        )
    if len(text.encode()) > _MAX_BYTES:
        raise StoreRefused(f"the {what} cannot be part of a name: longer than {_MAX_BYTES} bytes")
    return text
