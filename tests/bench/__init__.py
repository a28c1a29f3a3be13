"""How fast sessions start on a real cluster: `make bench`. Measures and reports; asserts nothing."""
