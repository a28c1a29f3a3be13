"""An agent image whose `claude` CLI ends as soon as it is started."""

import tempfile
from pathlib import Path

from images.build import build_from
from images.catalog import IMAGES, REPOSITORY, Image
from images.context import source_files, stage

BROKEN = Image("broken-agent", "agent-image/Dockerfile", IMAGES["agent"].sources)
_LAST = "USER 10001:10001\n"
_BREAK = """\
RUN for cli in /opt/agentsessions/lib/python3*/site-packages/claude_agent_sdk/_bundled/claude; do \\
        printf '#!/bin/sh\\nexit 1\\n' > "$cli"; done
"""


def build() -> Path:
    """Return its archive: that of this checkout, with one more layer."""
    with tempfile.TemporaryDirectory(prefix="broken-") as folder:
        root = Path(folder)
        stage(REPOSITORY, source_files(REPOSITORY, (BROKEN.dockerfile, *BROKEN.sources)), root)
        file = root / BROKEN.dockerfile
        before, last, after = file.read_text().rpartition(_LAST)
        assert last, f"{BROKEN.dockerfile} names no user"
        file.write_text(before + _BREAK + last + after)
        return build_from(root, BROKEN)
