"""Decisions, one file each: values in, values out. No clock, no I/O, no logging."""
