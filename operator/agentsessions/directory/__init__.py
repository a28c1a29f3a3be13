"""The gateway's directory: Envoy asks it of every request who asks, whether they may, and where the session is."""
