"""Errors of the runner.

RunnerError
└── InvalidInput     what the pod was given cannot be run as it stands; trying again cannot help
"""


class RunnerError(Exception):
    """Base of the runner's own errors; the text is safe to show: it never holds a prompt or a secret."""


class InvalidInput(RunnerError):
    """The prompt, the session file, a directory or the local state is not usable; says which, and the fix."""
