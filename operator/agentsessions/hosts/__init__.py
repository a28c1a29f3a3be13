"""Speaks to session hosts: the key that they trust, tokens, calls, and the streams by which they tell their news."""
