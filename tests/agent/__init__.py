"""Tests of the agent runner with the real SDK and CLI against the model stand-in."""
