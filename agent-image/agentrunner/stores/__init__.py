"""Session stores: where a conversation is kept beside the pod's own disk, so that any other pod can go on with it."""
