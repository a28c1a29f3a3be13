"""The Kubernetes API: one thin port, JSON in and out, typed errors. Nothing else in the package speaks HTTP to it."""
