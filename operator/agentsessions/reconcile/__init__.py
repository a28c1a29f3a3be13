"""Observe, plan, apply, write status once: what every trigger calls, whatever changed."""
