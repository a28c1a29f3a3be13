"""The example in the documentation runs as it stands there."""

import asyncio
import os
import re
import sys
from pathlib import Path

from agent.container import ROOT, Container
from agent.model import script


def _example(termination: Path) -> str:
    """Return the program in the documented Dockerfile, with another place for its message."""
    text = (ROOT / "docs/agent-image.md").read_text()
    found = re.search(r"COPY <<'EOF' /agent\.py\n(.*?)\nEOF\n", text, re.DOTALL)
    assert found, "the documentation has lost its example"
    assert "/dev/termination-log" in found[1]
    return found[1].replace("/dev/termination-log", str(termination))


async def test_the_smallest_image_of_your_own_works(container: Container) -> None:
    prompt = script({"tool": "Bash", "input": {"command": "echo mine > made.txt"}}, {"text": "My own result."})
    environment = {**container.environment, "TASK_PROMPT": prompt, "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _example(container.termination)), cwd=container.workspace, env=environment
    )
    assert await process.wait() == 0
    assert container.termination.read_text() == "My own result."
    assert container.workspace.joinpath("made.txt").read_text() == "mine\n"
