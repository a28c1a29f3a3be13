"""Complete child manifests from a session and its settings, one file per kind; pure and deterministic."""
