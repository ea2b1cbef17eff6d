from __future__ import annotations

from pathlib import Path

import pytest

from urfb.errors import GridError, InputError, SelectionError
from urfb.grid.expand import load_grid

ROOT = Path(__file__).parents[2]


def grid_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    path = grid_file(tmp_path, text)
    with pytest.raises(GridError) as caught:
        load_grid(path)
    return [problem.replace(str(path), "grid.yaml") for problem in caught.value.problems]


def test_all_mistakes_are_reported_with_place_and_allowed_values(tmp_path: Path) -> None:
    reported = problems(
        tmp_path,
        """\
defaults: {step_size: 1e-1}
networks:
  tiny: Conv 8 3x3; Full 50; Output
experiments:
  first:
    matrix:
      network: [tiny, simpnt]
      dataset: digits
      rule: [bp, urfbb]
      seed: [0, true]
      rulee: bp
      exclude:
        - {los: hinge}
  second:
    matrx: {}
  third:
    defaults: {network: Conv 8 90x90; Output, dataset: digits, rule: bp}
  fourth:
    defaults: {network: tiny, dataset: digits, rule: bp}
""",
    )
    starts = [
        "grid.yaml:7:23: experiments.first.matrix.network.1: 'simpnt': did you mean 'simpnet'?",
        "grid.yaml:9:18: experiments.first.matrix.rule.1: 'urfbb': did you mean 'urfb'? (allowed: bp, urfb, frfb, ",
        "grid.yaml:10:17: experiments.first.matrix.seed.1: must be a whole number (got True)",
        "grid.yaml:13:12: experiments.first.matrix.exclude.0.los: unknown key 'los': did you mean 'loss'?",
        "grid.yaml:11:7: experiments.first.matrix.rulee: unknown key 'rulee': did you mean 'rule'?",
        "grid.yaml:15:5: experiments.second.matrx: unknown key 'matrx': did you mean 'matrix'?",
        "grid.yaml:16:3: experiments.third: network 'Conv 8 90x90; Output' does not fit digits: statement 1",
    ]
    assert len(reported) == len(starts)
    for start in starts:
        assert any(problem.startswith(start) for problem in reported), start


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a grid file is a mapping"),
        ("- experiments", "a grid file is a mapping"),
        ("experiments: {}", "no experiment is given"),
        ("defaults: {}", "the key 'experiments' is missing"),
        ("experiments: {a: {matrix: [}", "not valid YAML"),
        ("experiments:\n  a: {}\n  a: {}\n", "grid.yaml:3:3: experiments.a: this key is already on line 2"),
        (
            "experiments: {a: {matrix: {rule: bp, dataset: digits, network: simpnet, exclude: [{rule: bp}]}}}",
            "no run is left",
        ),
        ("experiments: {a: {matrix: {rule: bp, network: simpnet}}}", "no dataset is given"),
        ("experiments: {a: {matrix: {dataset: digits}}}", "no network and no rule is given"),
        ("experiments: {a: {defaults: {network: Full 20}}}", "a network ends with 'Output', as in 'Full 20; Output'"),
        ("experiments: {a: {defaults: {network: conv 8}}}", "'conv 8': statement 1, 'conv 8', is not in the paper's"),
        ("experiments: {a: {defaults: {network: fullnet}}}", "'fullnet': allowed: deepernet, deepnet, deepnet_s, simp"),
        ("networks: {n: Conv 3; Output}\nexperiments: {}", "no experiment is given"),
        ("networks: {n: Conv 3; Output}\nexperiments: {a: {}}", "networks.n: 'Conv 3; Output': statement 1, 'Conv 3'"),
        ("experiments: {a: {defaults: {step_size: -1}}}", "greater than 0 (got -1)"),
        ("experiments: {a: {defaults: {step_size: .nan}}}", "finite number"),
        ("experiments: {a: {defaults: {connectivity: 50}}}", "must be at most 1 (got 50)"),
        ("experiments: {a: {defaults: {connectivity: 0}}}", "greater than 0 (got 0)"),
        ("experiments: {a: {defaults: {decay: 1}}}", "less than 1 (got 1)"),
        ("experiments: {a: {matrix: {epochs: [1, 0]}}}", "a.matrix.epochs.1: must be at least 1 (got 0)"),
        ("experiments: {a: {defaults: {rule: bp, dataset: digits, network: simpnet, batch_size: 2000}}}", "1297"),
        (
            "experiments: {a: {defaults: {rule: bp, dataset: digits, network: Conv 3 20x20; Output}}}",
            "network 'Conv 3 20x20; Output' does not fit digits: statement 1",
        ),
        (
            "experiments: {a: {defaults: "
            "{rule: bp, dataset: digits, network: simpnet, loss: softmax, off_class_weight: 1}}}",
            "only the hinge loss takes off_class_weight",
        ),
        (
            "experiments: {a: {defaults: {rule: bp, dataset: digits, network: simpnet, feedback_connectivity: 0.5}}}",
            "under rule bp feedback has the connections of W",
        ),
        ("experiments: {a: {matrix: [zip]}}", "a.matrix: must be a mapping"),
        ("experiments: {a: {matrix: {zip: 3}}}", "a.matrix.zip: must be a mapping or a list of mappings (got 3)"),
        ("experiments: {a: {matrix: {zip: [3]}}}", "a.matrix.zip.0: must be a mapping"),
        ("experiments: {1: {}}", "the key 1 is not text; put it in quotes"),
        ("experiments: {a: [rule]}", "experiments.a: must be a mapping"),
        ("experiments: {a: {defaults: {rule: [bp, urfb]}}}", "rule: one value is allowed here; move the list to '"),
        ("experiments: {a: {defaults: {seed: [0]}}}", "seed: one value is allowed here; move the list to 'matrix'"),
        ("experiments: {a: {defaults: {epochs:5}}}", "write a space after the colon: 'epochs: 5'"),
        ("experiments: {a: {defaults: {rule:bp, seed: 1}}}", "write a space after the colon: 'rule: bp'"),
        ("defaults:\n  epochs:5\nexperiments: {a: {}}", "1:1: defaults: write a space after the colon: 'epochs: 5'"),
        ("defaults:\n  epochs:5\n  seed: 1\n", "2:3: not valid YAML: write a space after the colon: 'epochs: 5'"),
        ("defaults:\n\tseed: 1\n", "2:1: not valid YAML: indent with spaces, not tabs"),
        ("defaults: {network: Conv 8 3x3, Full 2; Output}", "Full 2; Output: no value is given: add one, or remove"),
        ("defaults: {network: Conv 8 3x3, Full 2; Output}", "key; put a text with a comma in quotes"),
        (
            "reports: figs.py\nexperiments: {a: {}}",
            "grid.yaml:1:1: reports: 'figs.py' does not exist next to this file",
        ),
        ("defaults: {rule: sgd}", "'sgd': allowed: bp, urfb, "),
        ("defaults: {rule: sgd}", "shallow, or the import path of your own rule, such as 'my_rules:foo'"),
        ("defaults: {rule: my_own.zigzag}", "import path of your own rule, such as 'my_own:zigzag'"),
        ("defaults: {dataset: imagenet}", "digits, or the import path of your own data set, such as 'my_data:load'"),
        ("defaults: {network: my_nets.deep}", "or a model's import path such as 'my_nets:deep'"),
        ("experiments: {'a,b': {}}", "letters, digits"),
        ("experiments: {a: {defaults: {rule: !foo bp}}}", "the tag of 'bp' has no meaning here"),
        (f"experiments: {{a: {{defaults: {{seed: {'9' * 5000}}}}}}}", "cannot be read (Exceeds the limit"),
        ("networks: {simpnet: Full 10; Output}\nexperiments: {a: {}}", "'simpnet' is the paper's network"),
    ],
)
def test_mistakes_in_a_grid_file_are_reported(tmp_path: Path, text: str, message: str) -> None:
    assert any(message in problem for problem in problems(tmp_path, text))


def test_mistakes_in_zips_are_reported_with_all_others(tmp_path: Path) -> None:
    reported = problems(
        tmp_path,
        """\
experiments:
  single:
    defaults: {network: simpnet, dataset: digits, rule: bp}
    matrix:
      seed: [0, 1]
      zip:
        rule: [bp, urfb]
        epochs: [1, 2, 3]
        seed: [2, 3]
        los: [hinge, softmax]
  several:
    matrix:
      zip:
        - {seed: [0, 1], rule: [bp, urfbb]}
        - {seed: [2]}
""",
    )
    starts = [
        "grid.yaml:6:7: experiments.single.matrix.zip: the settings of a zip have the same number of values, but "
        "here rule has 2, epochs has 3, seed has 2",
        "grid.yaml:9:9: experiments.single.matrix.zip.0.seed: 'seed' is already an axis of this matrix",
        "grid.yaml:10:9: experiments.single.matrix.zip.0.los: unknown key 'los': did you mean 'loss'?",
        "grid.yaml:14:37: experiments.several.matrix.zip.0.rule.1: 'urfbb': did you mean 'urfb'?",
        "grid.yaml:15:12: experiments.several.matrix.zip.1.seed: 'seed' is already an axis of this matrix",
    ]
    assert len(reported) == len(starts)
    for start in starts:
        assert any(problem.startswith(start) for problem in reported), start


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "    matrix: {}\n    rule: [bp]",
            "4:5: experiments.a.rule: unknown key 'rule': it belongs below 'matrix:' or",
        ),
        ("    zip: {}", "3:5: experiments.a.zip: unknown key 'zip': it belongs below 'matrix:', with more indentation"),
        ("  matrix:\n    rul: 1", "4:5: experiments.matrix.rul: unknown key 'rul': allowed: description, defaults, "),
        ("seed: 1", "3:1: seed: unknown key 'seed': it belongs below 'defaults:', with more indentation"),
        ("matrix: {}", "3:1: matrix: unknown key 'matrix': it belongs below an experiment, with more indentation"),
        ("    matrix:\n      rule: [bp]\n       seed: 1", "5:8: not valid YAML: this line is indented differently "),
        ("    matrix:\n      rule: [bp]\n     seed: 1", "5:6: not valid YAML: this line is indented differently "),
        ("    matrix:\n      rule: bp\n       seed: 1", "5:12: not valid YAML: mapping values are not allowed here; c"),
    ],
)
def test_wrong_indentation_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    reported = problems(tmp_path, f"experiments:\n  a:\n{text}\n")
    assert any(line.startswith(f"grid.yaml:{problem}") for line in reported), reported


def test_a_file_in_place_of_a_module_is_reported_with_all_other_mistakes(tmp_path: Path) -> None:
    reported = problems(
        tmp_path,
        """\
networks: {own: 'nets/my_net.py:build'}
defaults: {network: 'my_net.py:build', sed: 1}
experiments:
  a:
    matrix: {dataset: [digits, './my_data.py:load'], rule: 'my_rules.py:rule', seed: zero}
""",
    )
    advice = "an import path names a module, not a file: write"
    for expected in (
        f"grid.yaml:1:12: networks.own: 'nets/my_net.py:build': {advice} 'nets.my_net:build'",
        f"grid.yaml:2:12: defaults.network: 'my_net.py:build': {advice} 'my_net:build'",
        "grid.yaml:2:40: defaults.sed: unknown key 'sed': did you mean 'seed'?",
        f"grid.yaml:5:32: experiments.a.matrix.dataset.1: './my_data.py:load': {advice} 'my_data:load'",
        f"grid.yaml:5:54: experiments.a.matrix.rule: 'my_rules.py:rule': {advice} 'my_rules:rule'",
        "grid.yaml:5:80: experiments.a.matrix.seed: must be a whole number (got 'zero')",
    ):
        assert any(line.startswith(expected) for line in reported), (expected, reported)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("defaults:\nexperiments: {a: {}}", ["1:1: defaults"]),
        ("experiments:", ["1:1: experiments"]),
        ("experiments:\n  a:\n", ["2:3: experiments.a"]),
        ("experiments: {a: {defaults: {seed: null}}}", ["1:30: experiments.a.defaults.seed"]),
        ("experiments: {a: {matrix: {seed: [0, ~]}}}", ["1:38: experiments.a.matrix.seed.1"]),
        (
            "experiments:\n  a:\n    matrix:\n      step_size:\n      exclude:\n        - {rule: , seed: 1}\n",
            ["4:7: experiments.a.matrix.step_size", "6:12: experiments.a.matrix.exclude.0.rule"],
        ),
        ("experiments: {a: {matrix: {exclude: }}}", ["1:28: experiments.a.matrix.exclude"]),
        ("experiments: {a: {matrix: {exclude: {rule: }}}}", ["1:38: experiments.a.matrix.exclude.0.rule"]),
        ("experiments: {a: {matrix: {zip: {rule: }}}}", ["1:34: experiments.a.matrix.zip.0.rule"]),
    ],
)
def test_a_key_without_a_value_is_a_mistake(tmp_path: Path, text: str, places: list[str]) -> None:
    reported = problems(tmp_path, text)
    assert reported == [f"grid.yaml:{place}: no value is given: add one, or remove the key" for place in places]


@pytest.mark.parametrize("key", ["zip", "include", "exclude"])
@pytest.mark.parametrize("entries", ["{}", "[{}]", "[{seed: 1}, {}]"])
def test_an_entry_that_would_match_everything_is_a_mistake(tmp_path: Path, key: str, entries: str) -> None:
    (problem,) = problems(tmp_path, f"experiments: {{a: {{matrix: {{{key}: {entries}}}}}}}")
    assert "this entry names no setting" in problem


@pytest.mark.parametrize("matrix", ["seed: []", "zip: {seed: []}", "exclude: [{seed: []}]"])
def test_an_empty_list_of_values_is_a_mistake(tmp_path: Path, matrix: str) -> None:
    (problem,) = problems(tmp_path, f"experiments: {{a: {{matrix: {{{matrix}}}}}}}")
    assert "seed: the list is empty: give a value, or remove the key" in problem


def test_a_file_may_repeat_a_network_of_the_paper(tmp_path: Path) -> None:
    text = "conv 32 5x5; maxpool 3; drop .8; full 500; drop .3; output"
    settings = "{network: simpnet, dataset: digits, rule: bp}"
    path = grid_file(tmp_path, f"networks: {{simpnet: {text}}}\nexperiments: {{a: {{defaults: {settings}}}}}")
    assert [run.spec.network for run in load_grid(path).runs] == ["simpnet"]


def test_a_network_of_one_statement_is_a_network(tmp_path: Path) -> None:
    path = grid_file(tmp_path, "experiments: {a: {defaults: {network: output, dataset: digits, rule: bp}}}")
    assert [run.spec.layers for run in load_grid(path).runs] == ["Output"]


BASE = "network: simpnet, dataset: digits"


@pytest.mark.parametrize(
    ("experiments", "rules"),
    [
        (f"  a: {{defaults: &x {{{BASE}, rule: bp}}}}\n  b: {{defaults: {{<<: *x, rule: urfb}}}}", ["bp", "urfb"]),
        (f"  a: {{defaults: &x {{{BASE}, rule: bp}}}}\n  b: {{defaults: {{<<: *x}}, matrix: {{seed: 1}}}}", ["bp"] * 2),
        (f"  a: &a\n    defaults: {{{BASE}, rule: bp}}\n  b: {{<<: *a, matrix: {{rule: urfb}}}}", ["bp", "urfb"]),
        (f"  a: {{defaults: {{{BASE}}}, matrix: &m {{rule: [bp, urfb]}}}}\n"
         f"  b: {{defaults: {{{BASE}}}, matrix: {{<<: *m, seed: 1}}}}", ["bp", "urfb"] * 2),
        (f"  a: {{defaults: &x {{{BASE}}}, matrix: &y {{rule: bp}}}}\n"
         "  b: {defaults: {<<: [*x, *y], seed: 1}}", ["bp"] * 2),
        (f"  a: {{defaults: &x {{{BASE}, rule: bp}}}}\n  b: {{defaults: &y {{<<: *x, rule: urfb}}}}\n"
         "  c: {defaults: {<<: [*y, *x], seed: 1}}", ["bp", "urfb", "urfb"]),
        (f"  a: {{defaults: {{{BASE}, rule: bp}}}}\n  <<: {{b: {{defaults: {{{BASE}, rule: urfb}}}}}}", ["bp", "urfb"]),
        (f"  a: {{defaults: {{{BASE}}}, matrix: {{rule: &r bp, exclude: [&e {{seed: 9}}]}}}}\n"
         f"  b: {{defaults: {{{BASE}, rule: *r, seed: 1}}, matrix: {{exclude: [{{<<: *e}}]}}}}", ["bp"] * 2),
    ],
)  # fmt: skip
def test_mappings_are_merged_anywhere(tmp_path: Path, experiments: str, rules: list[str]) -> None:
    grid = load_grid(grid_file(tmp_path, f"experiments:\n{experiments}\n"))
    assert [run.spec.rule for run in grid.runs] == rules


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("dense_output", False), ("connectivity", 0.5), ("seed", 3), ("step_size", 1e-3), ("loss", "softmax"),
        ("pretraining_epochs", 0), ("untied", [1]),
    ],
)  # fmt: skip
def test_an_anchor_does_not_change_a_value(tmp_path: Path, setting: str, value: object) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    grid = load_grid(
        grid_file(
            tmp_path,
            f"experiments:\n  a: {{defaults: {{{BASE}, rule: bp, {setting}: &anchor {text}}}}}\n"
            f"  b: {{defaults: {{{BASE}, rule: urfb}}, matrix: {{{setting}: [*anchor]}}}}\n"
            f"  c: {{defaults: {{{BASE}, rule: frfb, {setting}: {text}}}}}\n",
        )
    )
    assert len({getattr(run.spec, setting) for run in grid.runs}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: {a: {defaults: {<<: 3}}}", "a.defaults: a merge (<<) takes a mapping"),
        ("experiments: {a: {defaults: {<<: }}}", "a.defaults: a merge (<<) takes a mapping"),
        ("experiments: &e {<<: *e}", "experiments: a merge (<<) takes a mapping"),
        ("experiments:\n  a: {}\n  b: {}\n  a: {}\n", "grid.yaml:4:3: experiments.a: this key is already on line 2"),
        ("experiments: {a: {matrix: {seed: 1, seed: 2}}}", "seed: this key is already on line 1"),
        ("experiments: {a: {defaults: !set {seed}}}", "a.defaults: the tag !set has no meaning here"),
        ("experiments: {[a]: {}}", "experiments: a key must be text, but this one is a list or a mapping"),
        ("experiments: {a: {defaults: {seed: 2001-99-99}}}", "a.defaults.seed: '2001-99-99' cannot be read"),
    ],
)  # fmt: skip
def test_mistakes_in_yaml_are_reported_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    assert any(message in problem for problem in problems(tmp_path, text))


def _multiplied(pattern: str) -> str:
    """Return a file of ten lines that expands to 9⁹ values."""
    lines = [f"a{n}: &a{n} " + pattern.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 10)]
    return "\n".join(["a0: &a0 {a: [0]}", *lines, "experiments: {t: {}}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_multiplied("[{}]"), "with its aliases expanded, the file has more than 100,000 values"),
        (_multiplied("{{<<: [{}]}}"), "with its aliases expanded, the file has more than 100,000 values"),
        ("experiments: &e {a: *e}", "an alias is inside the part that it repeats"),
        ("experiments: " + "[" * 400 + "]" * 400, "nested more than 20 deep"),
        ("experiments: " + "{a: " * 100_000, "nested more than 20 deep"),
        ("experiments:\n  " + "- " * 100_000 + "1", "nested more than 20 deep"),
        ("experiments: {a: {matrix: {" + ", ".join(f"{name}: [" + "1, " * 99 + "1]" for name in
         ("seed", "epochs", "batch_size", "gradient_batch")) + "}}}", "this makes 100,000,000 runs"),
        ("experiments: {a: {matrix: {seed: 0-99999, epochs: [1, 2]}}}", "this makes 200,000 runs"),
        ("experiments: {a: {matrix: {exclude: [{seed: 0-99999, epochs: [1, 2]}]}}}", "this makes 200,000 runs"),
        ("experiments: {a: {matrix: {seed: 0-99999, zip: {epochs: [1, 2]}}}}", "this makes 200,000 runs"),
    ],
    ids=str,
)  # fmt: skip
def test_a_file_that_expands_to_too_much_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert message in problem


def test_seeds_are_given_as_ranges(tmp_path: Path) -> None:
    settings = f"defaults: {{{BASE}}}"
    grid = load_grid(
        grid_file(
            tmp_path,
            f"experiments:\n  a: {{{settings}, matrix: {{rule: bp, seed: 0-3}}}}\n"
            f"  b: {{{settings}, matrix: {{rule: urfb, seed: [7, 2-4, 9 - 10], exclude: {{seed: 3-9}}}}}}\n"
            f"  c: {{{settings}, matrix: {{rule: frfb, zip: {{seed: 5-6, loss: [hinge, softmax]}}}}}}\n",
        )
    )
    seeds = {rule: [run.spec.seed for run in grid.runs if run.spec.rule == rule] for rule in ("bp", "urfb", "frfb")}
    assert seeds == {"bp": [0, 1, 2, 3], "urfb": [2, 10], "frfb": [5, 6]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("matrix: {seed: 3-2}", "seed: a range goes from a lower seed to a higher one"),
        ("matrix: {seed: [1, 0-100000]}", "seed.1: a range goes from a lower seed to a higher one and has at most 100"),
        ("matrix: {seed: [0-2, x]}", "1:40: experiments.a.matrix.seed.1: must be a whole number (got 'x')"),
        ("matrix: {epochs: 1-2}", "epochs: must be a whole number (got '1-2')"),
        ("matrix: {zip: {seed: 0-2, rule: [bp, urfb]}}", "but here seed has 3, rule has 2"),
        ("defaults: {seed: 0-9}", "defaults.seed: put a range of seeds such as 0-9 under 'matrix'"),
    ],
)  # fmt: skip
def test_mistakes_in_ranges_are_reported(tmp_path: Path, settings: str, message: str) -> None:
    assert any(message in problem for problem in problems(tmp_path, f"experiments: {{a: {{{settings}}}}}"))


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    axes = "epsilon: [0.0, -0.0], decay: [-0.0, 0], off_class_margin: [0, -0.0], true_class_margin: [-0.0, 0.0]"
    settings = f"defaults: {{{BASE}, rule: interpolated}}, matrix: {{{axes}, input_offset: [0.0, -0.0]}}"
    assert len(load_grid(grid_file(tmp_path, f"experiments: {{a: {{{settings}}}}}")).runs) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml: does not exist"):
        load_grid(tmp_path / "absent.yaml")


def test_an_unknown_experiment_suggests_the_nearest() -> None:
    with pytest.raises(SelectionError, match="did you mean 'figure4'"):
        load_grid(ROOT / "experiments.yaml", ["figur4"])


def test_a_condition_without_its_option_is_explained() -> None:
    with pytest.raises(SelectionError, match="put a condition after --where"):
        load_grid(ROOT / "experiments.yaml", ["seed=0"])
