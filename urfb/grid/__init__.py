"""Grid files and the runs that they ask for: schema, expansion, identity, plan. Plain Python, no torch."""
