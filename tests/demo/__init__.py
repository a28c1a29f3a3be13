"""`make demo`: one agent session from an empty machine to its result, shown at the terminal as it happens.

It owns the order of the steps and what a person reads; clusters, images and the chart are made elsewhere.
"""
