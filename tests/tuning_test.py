"""Tests of the tuning of a student's recipe."""

import pytest
import tiny

from archcomp_tf import tuning
from archcomp_tf.architecture import Architecture
from archcomp_tf.training import Recipe
from archcomp_tf.tuning import RecipeTuner

NETWORK = Architecture.parse("conv3x3-2")
BASE = Recipe(epochs=1, batch_size=32, learning_rate=0.1)


def _tuner(directory, num_trials=3, teacher_logits=None):
    return RecipeTuner(
        NETWORK,
        tiny.dataset(),
        BASE,
        teacher_logits,
        num_trials=num_trials,
        seed=0,
        directory=directory,
    )


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [([0.5, 0.7, 0.6], 1), ([0.8, 0.7, 0.6], 0), ([0.5, 0.5, 0.5], 0)],
)
def test_the_base_is_tried_first_and_the_best_recipe_stays(
    accuracies, best, tmp_path, monkeypatch
):
    tried = []

    def trained_accuracy(architecture, dataset, recipe, **options):
        tried.append(recipe)
        return accuracies[len(tried) - 1]

    monkeypatch.setattr(tuning, "trained_accuracy", trained_accuracy)
    tuner = _tuner(tmp_path)
    assert tuner.best() == tried[best]
    assert [accuracy for _, accuracy in tuner.trials] == accuracies
    assert tuner.trials[0][0]["learning_rate"] == BASE.learning_rate
    assert tried[0] == BASE
    for recipe in tried[1:]:
        assert recipe.learning_rate != BASE.learning_rate
        assert 0.05 <= recipe.learning_rate <= 0.2
        assert (recipe.epochs, recipe.batch_size) == (1, 32)


def test_finished_trials_are_not_run_again(tmp_path):
    first = _tuner(tmp_path, num_trials=2)
    recipe = first.best()
    trained = []
    again = _tuner(tmp_path, num_trials=2)
    again.run_trial = trained.append
    assert again.best() == recipe
    assert trained == []


def test_distillation_is_tuned_with_a_teacher_alone(tmp_path):
    logits = tiny.dataset().train.labels[:, None] * [[-4.0, 4.0]]
    with_teacher = _tuner(tmp_path / "with", teacher_logits=logits)
    without = _tuner(tmp_path / "without")
    tuned = {hp.name for hp in with_teacher.oracle.get_space().space}
    assert tuned - {hp.name for hp in without.oracle.get_space().space} == {
        "temperature",
        "label_weight",
    }
