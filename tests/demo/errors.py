"""Errors of the demo.

DemoError        a step failed; the text says which, why, and what to do
"""


class DemoError(Exception):
    """A step failed; the message is for the person at the terminal."""
