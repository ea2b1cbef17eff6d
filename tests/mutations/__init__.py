"""Mutations: small mistakes in urfb's code, each with the tests that must fail for it: `python -m tests.mutations`."""

from tests.mutations import claims, grid, report, store, training

MUTATIONS = [*training.MUTATIONS, *grid.MUTATIONS, *store.MUTATIONS, *report.MUTATIONS, *claims.MUTATIONS]
