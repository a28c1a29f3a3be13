"""What every agent container is given, ours or another's: paths, variables, user. See docs/agent-image.md."""

SESSION_DIR = "/var/run/agentsessions/session"
STATE_DIR = "/state"
WORKSPACE_DIR = "/workspace"
STORE_DIR = "/var/run/agentsessions/store"
ARCHIVE_DIR = "/var/run/agentsessions/archive"
HOME_DIR = "/home/agent"
TMP_DIR = "/tmp"

PROMPT_FILE = "prompt"
SESSION_FILE = "session.json"

USER_ID = 10001
"""Numeric user and group of the agent; fixed, so that a volume can be read by the next pod."""

PLACEHOLDER_KEY = "placeholder"
"""The CLI insists on a key; the model endpoint replaces this one by the real one."""
