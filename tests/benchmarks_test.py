"""Tests of the accuracies that cost no training."""

import itertools

import numpy as np
import pytest

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.benchmarks import (
    NasBenchMacro,
    SyntheticBenchmark,
    TabularBenchmark,
    highest_objective,
    read_benchmark,
)
from archcomp_tf.layer import Layer
from archcomp_tf.objective import LogParams
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import Slot

TEACHER = Architecture.parse(
    "conv3x3-32 conv3x3-32 max_pool2x2/2 conv3x3-64 conv3x3-64"
)
SPACE = SearchSpace.around(TEACHER)


def _table(path, rows):
    lines = ['"arch","params","flops","mean_acc","std","acc0","acc1","acc2"']
    lines += [
        f'"{a}",{p},0,{acc},0.1,{acc - 0.1},{acc},{acc + 0.1}'
        for a, p, acc in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def _rows():
    """Digits; parameters and accuracy that both tell all networks apart."""
    for index, digits in enumerate(itertools.product("012", repeat=8)):
        yield "".join(digits), 1000 + index, 50 + index / 200


def test_a_table_gives_each_of_its_networks_accuracy_and_size(tmp_path):
    table = NasBenchMacro(_table(tmp_path / "table.csv", _rows()))
    assert table.space.num_members == len(table.architectures) == 3**8
    assert all(table.space.contains(a) for a in table.architectures)
    assert len({a.fingerprint for a in table.architectures}) == 3**8
    # 00000000, 00000001 and 22222222 are the first, the second, the last.
    first, second, last = (table.architectures[i] for i in (0, 1, -1))
    assert [layer.kernel_size for layer in second.layers] == [1] * 7 + [3]
    assert table.evaluate([first, last]) == pytest.approx(
        [0.5, (50 + 6560 / 200) / 100]
    )
    assert table.count_params(second) == 1001


def test_the_columns_tell_which_table_a_file_holds(tmp_path):
    path = _table(tmp_path / "table.csv", _rows())
    assert isinstance(read_benchmark(path), NasBenchMacro)
    path.write_text("")
    with pytest.raises(ValueError, match="expected the columns architecture"):
        read_benchmark(path)


def test_every_sample_of_a_tables_space_is_in_the_table(tmp_path):
    table = NasBenchMacro(_table(tmp_path / "table.csv", _rows()))
    rng = np.random.default_rng(0)
    samples = [table.space.sample(rng) for _ in range(50)]
    assert all(0.5 <= a < 0.9 for a in table.evaluate(samples))


def test_a_table_with_members_missing_is_refused(tmp_path):
    path = _table(tmp_path / "table.csv", list(_rows())[1:])
    with pytest.raises(ValueError, match="6561 members .*; got 6560"):
        NasBenchMacro(path)


def test_a_table_of_something_else_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,score\n00000000,1\n")
    with pytest.raises(ValueError, match="got name, score, without arch,"):
        NasBenchMacro(path)


def test_the_formula_has_its_closed_form_for_the_teacher():
    # Full capacity in both stages, of the kind of layer that carries most.
    space = SearchSpace.uniform(
        num_slots=2, kinds=("conv",), filters=(8, 16), kernel_sizes=(1, 3)
    )
    benchmark = SyntheticBenchmark(space)
    full = Architecture.parse("conv3x3-16 conv3x3-16")
    assert benchmark.accuracy(full) == pytest.approx(0.95 - 0.85 * np.exp(-4))
    half = Architecture.parse("conv1x1-16 conv1x1-16")  # windows of 1
    assert benchmark.accuracy(half) == pytest.approx(0.95 - 0.85 * np.exp(-2))


def test_a_narrow_layer_chokes_the_one_behind_it():
    benchmark = SyntheticBenchmark(SPACE)
    narrow = list(TEACHER.layers)
    narrow[0] = Layer("conv", min(SPACE.slots[0].filters))
    removed = list(TEACHER.layers)
    removed[0] = Layer("identity")
    accuracies = [
        benchmark.accuracy(Architecture(tuple(layers)))
        for layers in (narrow, removed, TEACHER.layers)
    ]
    assert accuracies == sorted(accuracies)


def test_labels_are_the_formula_and_the_same_noise_each_time():
    rng = np.random.default_rng(0)
    members = [SPACE.sample(rng) for _ in range(300)]
    noisy = SyntheticBenchmark(SPACE, noise=0.003, seed=1)
    labels = noisy.evaluate(members)
    assert labels == noisy.evaluate(members)
    assert labels != SyntheticBenchmark(SPACE, noise=0.003, seed=2).evaluate(
        members
    )
    errors = np.array(labels) - [noisy.accuracy(a) for a in members]
    assert abs(errors.mean()) < 0.001
    assert 0.0025 < errors.std() < 0.0035
    assert noisy.count_params(TEACHER) == cost.num_params(
        TEACHER, SPACE.input_shape, SPACE.num_classes
    )


def test_the_best_of_the_formula_is_far_smaller_than_the_teacher():
    # There is something to find: cheap members that lose little.
    benchmark = SyntheticBenchmark(SPACE)
    cheap = Architecture.parse(
        "conv3x3-32 separable_conv3x3-32 max_pool2x2/2 separable_conv3x3-64 "
        "separable_conv3x3-64"
    )
    assert benchmark.accuracy(TEACHER) - benchmark.accuracy(cheap) < 0.03
    assert benchmark.count_params(cheap) < 0.2 * benchmark.count_params(TEACHER)


def test_single_trainings_are_one_of_each_networks_and_stay_the_same(tmp_path):
    table = NasBenchMacro(_table(tmp_path / "table.csv", _rows()))
    some = table.architectures[:600]
    labels = table.single_trainings(0)(some)
    assert labels == table.single_trainings(0)(some[::-1])[::-1]
    assert labels != table.single_trainings(1)(some)
    errors = np.round(1000 * (np.array(labels) - table.evaluate(some)))
    values, counts = np.unique(errors, return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    assert counts.min() > 150


ROWS = """architecture,accuracy,params
conv1x1-4,0.5,56
conv3x3-4,0.6,120
conv3x3-4,0.7,120
"""
SMALL = SearchSpace.uniform(
    num_slots=1, kinds=("conv",), kernel_sizes=(1, 3), filters=(4,)
)


def test_a_table_of_any_space_is_read_from_csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(ROWS)
    table = TabularBenchmark.from_csv(path, SMALL)
    assert read_benchmark(path).space == SMALL
    # As tables are written that Excel or pandas had.
    path.write_text(ROWS.replace(",56", ",56.0"), encoding="utf-8-sig")
    assert read_benchmark(path).count_params(table.architectures[0]) == 56
    assert table.evaluate(table.architectures) == pytest.approx([0.5, 0.65])
    assert [table.count_params(a) for a in table.architectures] == [56, 120]
    weight = LogParams(0.1)
    assert highest_objective(table, weight) == pytest.approx(weight(0.65, 120))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("conv1x1-4", "conv1x1-8", "filters 8 is not one of"),
        ("conv1x1-4", "convolution", "line 2: .*convolution"),
        ("0.6", "60", r"line 3: accuracy 60.0 is not in \[0, 1\]"),
        (
            "conv1x1-4,0.5,56\n",
            "",
            "2 members of the space; got 1, not conv1x1-4 among them",
        ),
        ("0.5,56", "0.5", "line 2: expected 3 columns; got fewer"),
        ("0.5,56", "0.5,57.5", "line 2: .*whole and positive .* got 57.5"),
        ("0.6,120", "0.6,121", "line 4: 120 parameters, .* before has 121"),
        (ROWS.partition("\n")[2], "", "expected a row for each network"),
        ("params", "size", "without params"),
    ],
)
def test_a_wrong_table_is_refused_by_name_and_line(tmp_path, old, new, message):
    path = tmp_path / "table.csv"
    path.write_text(ROWS.replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        TabularBenchmark.from_csv(path, SMALL)
    assert str(path) in str(error.value)


def test_a_layer_that_the_formula_does_not_know_adds_nothing():
    slots = (Slot(("max_pool", "conv"), filters=(4, 8)), Slot(("max_pool",)))
    benchmark = SyntheticBenchmark(SearchSpace(slots, (8, 8, 3), 10))
    pools, conv = map(
        Architecture.parse, ("max_pool3x3 max_pool3x3", "conv3x3-8 max_pool3x3")
    )
    assert benchmark.accuracy(pools) == pytest.approx(0.1)
    assert benchmark.accuracy(conv) > 0.9


def test_climbs_find_the_best_of_a_formula():
    space = SearchSpace.around(TEACHER, num_widths=3)
    benchmark, objective = SyntheticBenchmark(space), LogParams(0.05)
    truth = [
        objective(benchmark.accuracy(a), benchmark.count_params(a))
        for a in (
            Architecture(layers)
            for layers in itertools.product(
                *(list(slot.layers)[:7] for slot in space.slots)
            )
        )
    ]
    assert highest_objective(benchmark, objective) >= max(truth)
