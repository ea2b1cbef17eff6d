"""Train one run, from its spec to its last epoch."""
