"""What of the CLI's own directory is the agent's memory, and goes where the session goes.

Kept are instructions, skills and the like that the agent wrote for itself, and what it noted for a project. Not kept:
transcripts, which the session store has; credentials; caches; and `.claude.json`, which the CLI rewrites all the time.
"""

from pathlib import Path

from agentrunner.archive.trees import Tree

MEMORY = ("CLAUDE.md", "agents", "commands", "projects/*/memory", "rules", "settings.json", "skills")
"""Paths in the CLI's directory, each with all that is below it."""


def memory_tree(config: Path) -> Tree:
    """Return the agent's memory in its CLI's directory; what else is there is neither packed nor in the way."""
    return Tree(config, MEMORY)
