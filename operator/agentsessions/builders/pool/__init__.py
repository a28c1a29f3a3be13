"""Complete manifests of everything that a pool is made of; pure."""
