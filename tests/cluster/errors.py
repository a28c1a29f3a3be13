"""The one exception of this package: its text is for a person and names the fix."""


class ClusterError(Exception):
    """Something about the cluster is missing or failed; the message says what, and what to do."""
