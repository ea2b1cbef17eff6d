"""Mistakes in the measures and settings of claims."""

from tests.mutations.mutation import of

MEASURES = "tests/report/claims/test_measures.py"

MUTATIONS = [
    *of(
        "urfb/report/claims/findings.py",
        "tests/report/claims/test_findings.py",
        ("return next(decided, self.results[0])", "return self.results[0]"),
        ("order.index(result.setting.name)", "-order.index(result.setting.name)"),
        ("fewest = min(undecided", "fewest = max(undecided"),
    ),
    *of(
        "urfb/report/claims/measures.py",
        MEASURES,
        ("stats.spearmanr(layers.index", "stats.pearsonr(layers.index"),
        ("return min(ranks, default", "return max(ranks, default"),
        (
            'return float(run.epochs["validation_error"].mean(skipna=False))',
            'return float(run.epochs["training_error"].mean(skipna=False))',
        ),
        (
            "_at(run.layers(output=False), INITIAL_EPOCHS).max(skipna=False)",
            "_at(run.layers(output=False), INITIAL_EPOCHS).min(skipna=False)",
        ),
        ("_at(run.layers(output=False), INITIAL", "_at(run.layers(), INITIAL"),
        ('return _decrease(run, "training_error")', 'return _decrease(run, "validation_error")'),
        ("(numbers >= 2)", "(numbers >= 1)"),
        ("start.abs().argmax()", "start.argmax()"),
    ),
    *of(
        "urfb/report/claims/measures.py",
        "tests/report/claims/test_claims.py",
        ("seeds=(1, 2, 3, 4, 5),", "seeds=(0, 1, 2, 3, 4),"),
        ("final=last_validation_error(10)", "final=last_validation_error(3)"),
        ("    last_epoch=200,\n", "    last_epoch=250,\n"),
    ),
]
