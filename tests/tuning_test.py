"""Tests of the tuning of a student's recipe."""

import random

import numpy as np
import pytest

from archcomp_tf.training import Recipe
from archcomp_tf.tuning import RecipeTuner

BASE = Recipe(epochs=1, batch_size=32, learning_rate=0.1)


def _tuner(directory, train, num_trials=3, distilled=False, seed=0):
    return RecipeTuner(
        train,
        BASE,
        distilled=distilled,
        num_trials=num_trials,
        seed=seed,
        directory=directory,
    )


def _untrained(recipe):
    raise AssertionError(f"{recipe} was trained")


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [([0.5, 0.7, 0.6], 1), ([0.8, 0.7, 0.6], 0), ([0.5, 0.5, 0.5], 0)],
)
def test_the_base_is_tried_first_and_the_best_recipe_stays(
    accuracies, best, tmp_path
):
    tried = []

    def train(recipe):
        tried.append(recipe)
        return accuracies[len(tried) - 1]

    tuner = _tuner(tmp_path, train)
    assert tuner.best() == tried[best]
    assert [accuracy for _, accuracy in tuner.trials] == accuracies
    assert tuner.trials[0][0]["learning_rate"] == BASE.learning_rate
    assert tried[0] == BASE
    for recipe in tried[1:]:
        assert recipe.learning_rate != BASE.learning_rate
        assert 0.05 <= recipe.learning_rate <= 0.2
        assert (recipe.epochs, recipe.batch_size) == (1, 32)


@pytest.mark.parametrize("seed", [0, 1])
def test_recipes_depend_on_the_seed_and_on_nothing_else(tmp_path, seed):
    tried = {}
    for state in (1, 2):
        random.seed(state)
        np.random.seed(state)
        tried[state] = []

        def train(recipe, tried=tried[state]):
            tried.append(recipe)
            return 0.5

        _tuner(tmp_path / f"{state}", train, seed=seed).best()
    assert tried[1] == tried[2]
    others = []
    _tuner(
        tmp_path / "other", lambda r: others.append(r) or 0.5, seed=seed + 7
    ).best()
    assert others[1:] != tried[1][1:]


def test_a_trial_that_ran_out_of_memory_is_not_the_best(tmp_path):
    def train(recipe):
        if recipe == BASE:
            raise MemoryError
        return 0.1

    tuner = _tuner(tmp_path, train)
    assert tuner.best() != BASE
    assert [accuracy for _, accuracy in tuner.trials] == [0.1, 0.1]


@pytest.mark.parametrize("name", ["oracle.json", "trial.json"])
def test_a_file_of_which_half_was_written_stops_nothing(tmp_path, name):
    tried = []

    def train(recipe):
        tried.append(recipe)
        return recipe.learning_rate

    recipe = _tuner(tmp_path, train).best()
    for path in tmp_path.rglob(name):
        path.write_text("")
    assert _tuner(tmp_path, train).best() == recipe
    assert tried[3:] == tried[:3]


@pytest.mark.parametrize("num_trials", [2, 5])
def test_where_no_recipe_can_be_tried_it_is_the_base(tmp_path, num_trials):
    def train(recipe):
        raise MemoryError

    tuner = _tuner(tmp_path, train, num_trials)
    assert tuner.best() == BASE
    assert tuner.trials == []


@pytest.mark.parametrize("error", [OSError(28, "disk full"), ValueError("x")])
def test_an_error_that_is_no_networks_ends_it(tmp_path, error):
    tried = []

    def train(recipe):
        tried.append(recipe)
        raise error

    with pytest.raises(type(error)) as caught:
        _tuner(tmp_path, train).best()
    assert caught.value is error
    assert tried == [BASE]


def test_distillation_is_tuned_with_a_teacher_alone(tmp_path):
    with_teacher = _tuner(tmp_path / "with", _untrained, distilled=True)
    without = _tuner(tmp_path / "without", _untrained)
    tuned = {hp.name for hp in with_teacher.oracle.get_space().space}
    assert tuned - {hp.name for hp in without.oracle.get_space().space} == {
        "temperature",
        "label_weight",
    }
