"""Mistakes in the runs and numbers of figures, tables and verdicts."""

from tests.mutations.mutation import of

TESTED_CLAIMS = "tests/report/claims/test_claims.py"

MUTATIONS = [
    *of(
        "urfb/report/selection.py",
        "tests/report/test_selection.py",
        ('_comparing("panels", "untied") if', '_comparing("panels") if'),
        ('varying = {"run", "seed", "source"', 'varying = {"run", "seed", "precision", "source"'),
        ('varying = {"run", "seed", "source"', 'varying = {"run", "seed", "convention", "source"'),
        ('varying = {"run", "seed", "source"', 'varying = {"run", "seed", "gradient_batch", "source"'),
        ('varying = {"run", "seed", "source"', 'varying = {"run", "seed", "input_offset", "source"'),
        ('varying = {"run", "seed", "source"', 'varying = {"run", "seed", "batch_size", "source"'),
        ('== runs["science_version"].max()', '== runs["science_version"].min()'),
        ('seeds=runs["seed"].nunique()', "seeds=len(runs)"),
    ),
    *of(
        "urfb/report/protocols.py",
        "tests/report/test_selection.py",
        ('(("epsilon", self.epsilon), ("decay", self.decay)):', '(("epsilon", self.epsilon),):'),
        ("runs[name].isna() if value is None else", "True if value is None else"),
        ('matching &= runs["feedback_connectivity"] == self.feedback()', "pass"),
    ),
    *of(
        "urfb/report/drawn.py",
        "tests/report/test_error_bars.py::test_a_first_stage_is_never_compared",
        ('runs.groupby("protocol")["epochs"].transform("max")', 'runs["epochs"].max()'),
    ),
    *of(
        "urfb/report/drawn.py",
        "tests/report/test_error_bars.py::test_unlike_batches_pair_largest_tied_with_smallest_untied",
        ('.isin(list(reached))].drop_duplicates("run")', ".isin(list(reached))]"),
    ),
    *of(
        "urfb/report/drawn.py",
        "tests/report/test_error_bars.py::test_the_interval_is_students",
        ("t.ppf(0.975", "t.ppf(0.95"),
    ),
    *of(
        "urfb/report/drawn.py",
        "tests/report/test_error_bars.py::test_two_seeds_are_dots_without_a_whisker",
        ("FEWEST = 3", "FEWEST = 2"),
    ),
    *of(
        "urfb/report/drawn.py",
        "tests/report/test_error_curves.py",
        ("shared = sharing == of_line", "shared = sharing <= of_line"),
        ("alone = values[longer | first.isna()]", "alone = values[longer]"),
        ('(seeds.transform("max") > last)', '(seeds.transform("max") < last)'),
    ),
    *of(
        "urfb/report/colours.py",
        "tests/report/test_colours.py",
        ("BETWEEN(float(", "BETWEEN(int("),
        ("round(1000 * epsilon) %", "round(10 * epsilon) %"),
        ("colours[depth - layer]", "colours[0]"),
    ),
    *of(
        "urfb/report/canvas.py",
        "tests/report/test_legibility.py::test_forty_lines_have_a_legend_by_epsilon",
        ("columns = next(", "columns = 40 or next("),
    ),
    *of(
        "urfb/cli/drawing.py",
        "tests/cli/test_drawing.py",
        ("    os.chdir(folder)\n", ""),
        ('    os.environ["MPLBACKEND"] = "agg"\n', ""),
    ),
    *of(
        "urfb/report/error_curves.py",
        "tests/report/test_error_curves.py",
        (
            'highest = compared["low"].min(), compared["high"].max()',
            'highest = compared["low"].min(), compared["mean"].max()',
        ),
        ("if other.dataset == panel.dataset", "if other == panel"),
    ),
    *of(
        "urfb/report/error_bars.py",
        "tests/report/test_error_bars.py",
        ('runs["pretraining_epochs"] < last', "0 < last"),
        ("= min(shared, epochs)", "= max(shared, epochs)"),
        ("SPREAD = (0.14, 0.42)", "SPREAD = (0.0, 0.42)"),
    ),
    *of(
        "urfb/report/error_bars.py",
        "tests/report/test_legibility.py::test_bars_whiskers_and_dots_keep_off_numbers",
        ("CLEARANCE = 3.5", "CLEARANCE = 1.5"),
    ),
    *of(
        "urfb/report/alignment.py",
        "tests/report/test_alignment.py::test_second_stage_plot_counts_own_epochs_and_omits_frozen",
        ('((rows["pretraining_epochs"] == 0) | (rows["epoch"] > rows["pretraining_epochs"]))', "True"),
        ("rows = rows[learning & (", "rows = rows[("),
        ("total = {run: epochs + int(first_stage[run])", "total = {run: epochs"),
    ),
    *of(
        "urfb/report/alignment.py",
        "tests/report/test_alignment.py::test_a_sparse_r_with_a_dense_w_has_both_correlations",
        (
            "sparse = min(protocols[0].connectivity, protocols[0].feedback()) < 1",
            "sparse = protocols[0].connectivity < 1",
        ),
    ),
    *of(
        "urfb/report/alignment.py",
        "tests/report/test_alignment.py::test_urfb_is_left_and_frfb_right_with_a_line_a_layer",
        ("about_lowest.format(lowest_layer)", "about_lowest.format(highest_layer)"),
    ),
    *of(
        "urfb/report/alignment_and_error.py",
        "tests/report/test_alignment_and_error.py",
        ("return min(candidates, key", "return max(candidates, key"),
        ('repeated["low"], repeated["high"], color', 'repeated["mean"], repeated["high"], color'),
        ('correlations["epoch"] == 1]', 'correlations["epoch"] <= 1]'),
    ),
    *of(
        "urfb/report/texts.py",
        "tests/report/test_texts.py",
        ("first_row + place : first_row + place]", "first_row + place : first_row + place + 1]"),
        (".reset_index(drop=True)  # Styler", "  # Styler"),
    ),
    *of(
        "urfb/report/epsilons.py",
        "tests/report/test_epsilons.py",
        ("common.index[common].max()", 'measured["epoch"].max()'),
        (
            'repeated["epsilon"] + offsets, repeated["value"]',
            'repeated["epsilon"] + offsets, repeated["validation_error"]',
        ),
    ),
    *of(
        "urfb/report/filters.py",
        "tests/report/test_filters.py::test_the_similarity_is_that_of_the_layer_whose_filters_are_shown",
        ('measured[measured["layer"] == 1]', 'measured[measured["layer"] >= 1]'),
    ),
    *of(
        "urfb/report/filters.py",
        "tests/report/test_filters.py::test_several_rules_show_filters_and_similarity_of_first_rule",
        ("panel.protocols[:1]", "panel.protocols"),
        ('sort_values(["order", "seed"], kind', 'sort_values(["seed"], kind'),
    ),
    *of(
        "urfb/report/filters.py",
        "tests/report/test_filters.py::test_both_starts_show_first_and_last_epoch_and_similarity",
        ('of_epoch = filters[filters["epoch"] == epoch]', 'of_epoch = filters[filters["epoch"] == moments[-1]]'),
    ),
    *of(
        "urfb/report/alignment_tables.py",
        "tests/report/test_tables.py::test_each_rule_has_the_correlations_after_its_last_epoch",
        ('alignment.groupby("run")["step"].transform("max")', 'alignment["step"].max()'),
    ),
    *of(
        "urfb/report/alignment_tables.py",
        "tests/report/test_tables.py::test_sparse_layers_also_have_the_correlation_of_shared_entries",
        (".min(axis=1) < 1", ".max(axis=1) < 1"),
    ),
    *of(
        "urfb/report/simulation_tables.py",
        "tests/report/test_tables.py::test_simulations_have_log_errors_and_an_independent_reference",
        ('layers["iteration"] == layers["iterations"]', 'layers["iteration"] == MOMENTS[0]'),
    ),
    *of(
        "urfb/report/selection.py",
        "tests/report/test_tables.py::test_a_control_has_no_published_number",
        ("return all(self.where.get(name)", "return any(self.where.get(name)"),
    ),
    *of(
        "urfb/report/exhibits.py",
        "tests/report/test_exhibits.py::test_a_run_in_two_panels_is_one_of_the_runs",
        ('for panel in self.panels]).drop_duplicates("run")', "for panel in self.panels])"),
    ),
    *of(
        "urfb/report/fingerprints.py",
        "tests/report/test_exhibits.py::test_a_figure_is_made_again_when_something_else_has_become_of_a_run",
        ('"epochs_target", "test_error", "test_epoch"', '"epochs_target", "test_epoch"'),
    ),
    *of(
        "urfb/report/figures.py",
        "tests/report/test_exhibits.py::test_a_figure_shows_the_networks_that_its_title_names",
        (
            "        make=alignment.draw,\n        selection=Selection((DEEPERNET,)",
            "        make=alignment.draw,\n        selection=Selection((DEEPNET,)",
        ),
    ),
    *of(
        "urfb/report/page/runs.py",
        "tests/report/page/test_document.py::test_a_row_shows_how_its_run_differs_from_others",
        ('training=_percent(run["training_error"])', 'training=_percent(run["validation_error"])'),
    ),
    *of(
        "urfb/report/page/document.py",
        "tests/report/page/test_document.py::test_summary_totals_training_and_counts_states_and_verdicts",
        ('int(runs["epochs_done"].sum())', 'int(runs["epochs_target"].sum())'),
        ('runs["seconds"].sum() / 3600', 'runs["seconds"].sum() / 60'),
        ("int(counts[state]) for state in order", "len(runs) for state in order"),
        ("sum(finding.verdict is verdict for finding in found)", "len(found)"),
    ),
    *of(
        "urfb/report/claims/table.py",
        f"{TESTED_CLAIMS}::test_each_component_uses_the_documented_runs_and_range",
        ("SIMILAR_RATES = Range(0.8, 1.25)", "SIMILAR_RATES = Range(0.5, 2)"),
        ("DIFFERENT_START = Range(-0.1, 0.1)", "DIFFERENT_START = Range(-1, 1)"),
        ("MUCH_WORSE = Range(MARGIN)", "MUCH_WORSE = Range(0)"),
        (
            "        for cell in (DEEPNET, DEEPERNET)\n        for word",
            "        for cell in (DEEPNET, DEEPNET)\n        for word",
        ),
        ("CLOSE, URFB, BP_H, untied, (name", "CLOSE, URFB, BP_H, tied, (name"),
        ("((1, untied(URFB)), (-1, tied(URFB)))", "((-1, untied(URFB)), (1, tied(URFB)))"),
        ('all epochs", measures.area)', 'all epochs", measures.last_validation_error(10))'),
        ("runs, every=True, points=False", "runs, points=False"),
    ),
    *of(
        "urfb/report/claims/evaluating.py",
        f"{TESTED_CLAIMS}::test_one_of_several_components_contradicts_at_its_share_of_alpha",
        ("len(components),\n                setting,", "1,\n                setting,"),
    ),
    *of(
        "urfb/report/claims/evaluating.py",
        f"{TESTED_CLAIMS}::test_weights_that_become_the_same_in_one_seed_contradict_claim_5",
        ("components, component.every)", "components)"),
    ),
    *of(
        "urfb/report/claims/gathering.py",
        f"{TESTED_CLAIMS}::test_the_simulation_needs_enough_draws_with_finite_errors",
        ('0 or not a number", True', '0 or not a number", False'),
    ),
    *of(
        "urfb/report/claims/gathering.py",
        f"{TESTED_CLAIMS}::test_test_errors_after_different_epochs_are_not_compared",
        ("missing = missing or self._uneven(component, seed)", "pass"),
    ),
    *of(
        "urfb/report/claims/statistics.py",
        "tests/report/claims/test_statistics.py",
        ("level = ALPHA if mean in claimed else ALPHA / components", "level = ALPHA"),
        ("seeds_needed(values, claimed, components) if", "seeds_needed(values, claimed) if"),
        ("np.nanmax([p_t", "np.nanmin([p_t"),
        (
            "outside = claimed.low - strict_high > EQUAL or strict_low",
            "outside = claimed.low - high > EQUAL or low",
        ),
    ),
]
