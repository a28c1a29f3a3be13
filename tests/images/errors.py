"""Errors of image building.

ImageError
├── NoEngine        nothing here can build images; says what to install
└── BuildFailed     a command failed; carries the end of its output
"""


class ImageError(Exception):
    """Base of all errors of this package; the text is for a person."""


class NoEngine(ImageError):
    """Nothing on this machine can build images."""


class BuildFailed(ImageError):
    """A step of a build failed."""
