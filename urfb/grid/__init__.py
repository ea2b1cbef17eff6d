"""From a grid file to the runs that are missing: schema, expansion, identity, plan. Plain Python, no torch."""
