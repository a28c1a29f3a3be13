"""Builds the project's images into archives, with Docker where there is one and with buildah where there is not.

Standard library only: it must run before anything is installed.
"""
