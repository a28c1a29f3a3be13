"""Two nodes on this machine, each in its own network and mount namespace, with no container engine below."""
