"""How to get in at a session's host: its address, and the token that opens the door there."""

from agentsessions.api.host import PORT
from agentsessions.directory.paths import Target
from agentsessions.directory.whereabouts import Place
from agentsessions.hosts.tokens import Signer


def address(place: Place) -> str:
    """Return host and port."""
    host = f"[{place.pod.ip}]" if ":" in place.pod.ip else place.pod.ip
    return f"{host}:{PORT}"


def token(signer: Signer, target: Target, place: Place) -> str:
    """Return a token of a minute for this session in this pod."""
    implicit = bool(target.session_id)
    return signer.token(
        place.pod.uid,
        place.scope,
        place.session_id,
        port=target.port,
        namespace=target.namespace if implicit else None,
        name=place.name if implicit else None,
    )
