"""Keeps workspaces in a bucket while no pod is there: packed at suspend, unpacked at the next start."""
