"""LongRunning sessions: placed on a host of their pool, handed to it, and followed by what it tells of them."""
