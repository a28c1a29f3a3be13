"""Keeps a session's conversation in the session store while it goes on, and finds it again in another pod."""
