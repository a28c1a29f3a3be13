"""The session host: an HTTP server that holds many sessions, one `claude` CLI each."""
