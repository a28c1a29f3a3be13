"""What an agent on a host serves is reached under its own session only, and is gone when the session is."""

import asyncio

import pytest

from agent.host import PATIENCE, Host, Talk, _free_port
from agent.model import script
from agentsessions.api.host import Scope

pytestmark = pytest.mark.timeout(180)


async def site(talk: Talk) -> int:
    """Have the agent start a server in the background, and end its turn; return the port."""
    port = _free_port()
    serve = f"echo made > made.txt; python3 -m http.server {port} --bind 127.0.0.1 >/dev/null 2>&1 &"
    ready = f"until curl -s localhost:{port} >/dev/null; do sleep 0.1; done"
    steps = [{"tool": "Bash", "input": {"command": command}} for command in (serve, ready)]
    assert (await talk.say(script(*steps, {"text": "served"})))[-1].kind == "done"
    return port


async def fetch(talk: Talk, port: int, claimed: int | None = None) -> tuple[int, str]:
    """Return status and body of what the session serves on a port."""
    token = talk.host.plane.token(Scope.PORTS, talk.session_id, port=port if claimed is None else claimed)
    async with talk.host.call("GET", f"/sessions/-/ports/{port}/made.txt", token) as answer:
        return answer.status, await answer.text()


async def refused(port: int) -> None:
    """Return once nobody listens on a port any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)


@pytest.mark.requirement("H11")
async def test_a_server_in_the_background_is_reached_under_its_session_only(host: Host) -> None:
    one, other = await host.give(), await host.give()
    port = await site(one)
    assert await fetch(one, port) == (200, "made\n")
    assert (await fetch(other, port))[0] == 502
    assert (await fetch(one, host.port))[0] == 502  # the host itself is nobody's
    assert (await fetch(one, port, claimed=port + 1))[0] == 403


@pytest.mark.requirement("H11")
async def test_it_keeps_the_session_awake_and_ends_with_it(host: Host) -> None:
    talk = await host.give()
    port = await site(talk)
    assert (await host.json("POST", f"/sessions/{talk.session_id}/suspend?wait=false"))[0] == 409
    assert await fetch(talk, port) == (200, "made\n")
    assert (await host.json("DELETE", f"/sessions/{talk.session_id}"))[0] == 204
    async with asyncio.timeout(PATIENCE):
        await refused(port)
