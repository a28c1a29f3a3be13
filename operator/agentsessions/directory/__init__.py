"""The gateway's directory: Envoy asks it of every request who this is, whether they may, and where the session lives."""
