"""AgentPools: hosts made, sized, counted and kept as they should be. Observe, plan, apply, one status write."""
