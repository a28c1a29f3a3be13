"""What only the local cluster promises: to be repaired, to be interrupted, and to leave nothing behind."""
