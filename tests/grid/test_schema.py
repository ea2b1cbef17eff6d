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
        "grid.yaml:10:17: experiments.first.matrix.seed.1: Input should be a valid integer (got True)",
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
        ("experiments:\n  a: {}\n  a: {}\n", "grid.yaml:3:3: not valid YAML: found duplicate key"),
        ("experiments: {a: {matrix: {rule: [], dataset: digits, network: simpnet}}}", "no run is left"),
        (
            "experiments: {a: {matrix: {rule: bp, dataset: digits, network: simpnet, exclude: [{rule: bp}]}}}",
            "no run is left",
        ),
        ("experiments: {a: {matrix: {rule: bp, network: simpnet}}}", "no dataset is given"),
        ("experiments: {a: {matrix: {dataset: digits}}}", "no network and no rule is given"),
        ("networks: {n: Conv 3; Output}\nexperiments: {}", "no experiment is given"),
        ("networks: {n: Conv 3; Output}\nexperiments: {a: {}}", "networks.n: 'Conv 3; Output': statement 1, 'Conv 3'"),
        ("experiments: {a: {defaults: {step_size: -1}}}", "greater than 0 (got -1)"),
        ("experiments: {a: {defaults: {step_size: .nan}}}", "finite number"),
        ("experiments: {a: {defaults: {connectivity: 50}}}", "less than or equal to 1 (got 50)"),
        ("experiments: {a: {defaults: {connectivity: 0}}}", "greater than 0 (got 0)"),
        ("experiments: {a: {defaults: {decay: 1}}}", "less than 1 (got 1)"),
        ("experiments: {a: {matrix: {epochs: [1, 0]}}}", "a.matrix.epochs.1: Input should be greater than or equal to"),
        ("experiments: {a: {defaults: {rule: bp, dataset: digits, network: simpnet, batch_size: 2000}}}", "1297"),
        (
            "experiments: {a: {defaults: {rule: bp, dataset: digits, network: Conv 3 20x20; Output}}}",
            "network 'Conv 3 20x20; Output' does not fit digits: statement 1",
        ),
        (
            "experiments: {a: {defaults: "
            "{rule: bp, dataset: digits, network: simpnet, loss: softmax, off_class_weight: 1}}}",
            "belongs to the hinge loss",
        ),
        (
            "experiments: {a: {defaults: {rule: bp, dataset: digits, network: simpnet, feedback_connectivity: 0.5}}}",
            "under rule bp feedback has the connections of W",
        ),
        ("experiments: {a: {matrix: {rule: [bp, null]}}}", "a.matrix.rule.1: Input should be a valid string"),
        ("experiments: {a: {matrix: {seed: [null]}}}", "a.matrix.seed.0: Input should be a valid integer"),
        ("experiments: {a: {matrix: [zip]}}", "a.matrix: Input should be a valid dictionary"),
        ("experiments: {a: {matrix: {zip: 3}}}", "a.matrix.zip: Input should be a valid list (got 3)"),
        ("experiments: {a: {matrix: {zip: [3]}}}", "a.matrix.zip.0: Input should be a valid dictionary"),
        ("experiments: {zip: {matrix: {zip: {seed: [], rule: []}}}}", "no run is left"),
        ("experiments: {1: {}}", "the key 1 is not text; put it in quotes"),
        ("experiments: {a: [rule]}", "experiments.a: Input should be a valid dictionary"),
        ("experiments: {'a,b': {}}", "letters, digits"),
        ("experiments: {a: {defaults: {rule: !foo bp}}}", "the tag of 'bp' means nothing here"),
        (f"experiments: {{a: {{defaults: {{seed: {'9' * 5000}}}}}}}", "not valid YAML"),
        ("networks: {simpnet: Full 10; Output}\nexperiments: {a: {}}", "'simpnet' is the paper's network"),
    ],
)
def test_what_a_grid_file_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    assert any(message in problem for problem in problems(tmp_path, text))


def test_mistakes_of_zips_come_with_all_others_each_with_its_place(tmp_path: Path) -> None:
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
        "grid.yaml:6:7: experiments.single.matrix.zip: settings that are taken in step have as many values each, and "
        "here rule has 2, epochs has 3, seed has 2",
        "grid.yaml:9:9: experiments.single.matrix.zip.0.seed: 'seed' is an axis of this matrix already",
        "grid.yaml:10:9: experiments.single.matrix.zip.0.los: unknown key 'los': did you mean 'loss'?",
        "grid.yaml:14:37: experiments.several.matrix.zip.0.rule.1: 'urfbb': did you mean 'urfb'?",
        "grid.yaml:15:12: experiments.several.matrix.zip.1.seed: 'seed' is an axis of this matrix already",
    ]
    assert len(reported) == len(starts)
    for start in starts:
        assert any(problem.startswith(start) for problem in reported), start


def test_what_yaml_leaves_empty_says_nothing(tmp_path: Path) -> None:
    grid = load_grid(
        grid_file(
            tmp_path,
            "defaults:\nnetworks:\nexperiments:\n  a:\n    matrix:\n    defaults: {network: simpnet, dataset: digits, "
            "rule: bp, seed: null}\n  b:\n    defaults: {network: simpnet, dataset: digits, rule: bp}\n"
            "    matrix:\n      seed: 1\n      exclude:\n      include:\n",
        )
    )
    assert [run.spec.seed for run in grid.runs] == [0, 1]


def test_a_papers_network_may_be_written_out_under_its_own_name(tmp_path: Path) -> None:
    text = "conv 32 5x5; maxpool 3; drop .8; full 500; drop .3; output"
    settings = "{network: simpnet, dataset: digits, rule: bp}"
    path = grid_file(tmp_path, f"networks: {{simpnet: {text}}}\nexperiments: {{a: {{defaults: {settings}}}}}")
    assert [run.spec.network for run in load_grid(path).runs] == ["simpnet"]


def test_anchors_and_merges_are_yamls_own(tmp_path: Path) -> None:
    grid = load_grid(
        grid_file(
            tmp_path,
            "experiments:\n  a:\n    defaults: &base {network: simpnet, dataset: digits, rule: bp}\n"
            "  b:\n    defaults:\n      <<: *base\n      rule: urfb\n",
        )
    )
    assert [run.spec.rule for run in grid.runs] == ["bp", "urfb"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read"):
        load_grid(tmp_path / "absent.yaml")


def test_an_experiment_that_is_not_there_suggests_the_nearest() -> None:
    with pytest.raises(SelectionError, match="did you mean 'figure4'"):
        load_grid(ROOT / "experiments.yaml", ["figur4"])
