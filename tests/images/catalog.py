"""Which images there are, and what each is made from. Data only."""

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DEFAULT_BASE = "docker.io/library/python:3.11-slim-bookworm"
BASE = "base"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its reference, its Dockerfile, the files and folders it is built from, and pinned programs."""

    name: str
    dockerfile: str
    sources: tuple[str, ...]
    programs: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """The name under which clusters know it."""
        return f"agentsessions.dev/{self.name}:dev"


IMAGES = {
    image.name: image
    for image in (
        Image(
            "agent",
            "agent-image/Dockerfile",
            (
                "pyproject.toml",
                "agent-image/requirements.lock",
                "agent-image/agentrunner",
                "operator/agentsessions/__init__.py",
                "operator/agentsessions/py.typed",
                "operator/agentsessions/api",
            ),
        ),
        Image(
            "operator",
            "operator/Dockerfile",
            ("pyproject.toml", "operator/requirements.lock", "operator/agentsessions"),
        ),
        Image(
            "standin",
            "tests/standin/Dockerfile",
            ("tests/standin",),
        ),
        Image(
            "envoy",
            "tests/images/envoy/Dockerfile",
            (),
        ),
        Image(
            "byo",
            "tests/images/byo/Dockerfile",
            ("tests/images/byo",),
        ),
        Image(
            "stores",
            "tests/images/stores/Dockerfile",
            ("tests/images/stores",),
            ("versitygw",),
        ),
    )
}
"""All images by name; the base is made apart, see `base`."""

DEPLOYED = ("agent", "operator", "standin", "envoy")
"""What the demo needs; the rest is for tests alone."""

TESTED = (*DEPLOYED, "stores", "byo")
"""What tests on a cluster run."""
