"""The outermost room: kopf's watches, the HTTP server, signals. No decision about sessions is made here."""
