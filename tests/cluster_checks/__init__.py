"""What the rest of the tests takes for granted of a cluster, shown on the cluster itself."""
