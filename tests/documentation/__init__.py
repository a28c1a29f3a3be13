"""The documentation held against what it speaks of, and the page that traces requirements to tests."""
