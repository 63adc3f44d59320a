"""Tests of `archcomp_tf.config`."""

import dataclasses
import inspect

import ml_collections
import pytest

from archcomp_tf import compression
from archcomp_tf.config import (
    ConfigError,
    default_config,
    make_objective,
    objective_config,
    recipe_config,
)
from archcomp_tf.objective import Budget, LogParams, N2NReward, Tolerance
from archcomp_tf.training import Recipe


def test_a_misspelt_field_is_answered_with_the_right_one():
    with pytest.raises(AttributeError, match="num_labels"):
        default_config().labels.num_label = 3


def test_two_defaults_share_nothing():
    one, other = default_config(), default_config()
    one.seed, one.labels.num_labels, one.student.recipe.epochs = 9, 9, 9
    assert other == default_config()


def test_the_default_names_the_fields_of_every_recipe():
    config = default_config()
    for part in (config.teacher, config.labels, config.student):
        Recipe(**part.recipe)


def test_the_default_search_is_that_of_the_function():
    parameters = inspect.signature(compression.search).parameters
    for name, value in default_config().search.items():
        assert parameters[name].default == value, name


def test_a_recipe_config_has_the_defaults_of_a_recipe_besides_its_fields():
    config = recipe_config(epochs=3, learning_rate=0.5)
    assert Recipe(**config) == Recipe(epochs=3, learning_rate=0.5)
    assert recipe_config().to_dict() == dataclasses.asdict(Recipe())


def test_a_recipe_config_refuses_a_field_that_a_recipe_does_not_have():
    with pytest.raises(TypeError, match="'epoch'"):
        recipe_config(epoch=3)


@pytest.mark.parametrize(
    "objective",
    [
        LogParams(0.1),
        Tolerance(0.01, 0.9),
        Budget(7_000),
        N2NReward(0.9, 1_000_000),
    ],
)
def test_an_objective_comes_back_from_its_name_and_fields(objective):
    config = objective_config(
        type(objective).__name__, **dataclasses.asdict(objective)
    )
    assert make_objective(config) == objective


REFERENCES = {"reference_accuracy": 0.9, "reference_params": 1_000_000}


@pytest.mark.parametrize(
    ("config", "objective"),
    [
        (objective_config("LogParams", weight=0.1), LogParams(0.1)),
        (objective_config("LogParams"), LogParams()),
        (objective_config("Tolerance", max_drop=0.01), Tolerance(0.01, 0.9)),
        (objective_config("Budget", max_params=7), Budget(7)),
        (objective_config("N2NReward"), N2NReward(0.9, 1_000_000)),
    ],
)
def test_references_fill_the_gaps_and_only_where_there_are_any(
    config, objective
):
    assert make_objective(config, **REFERENCES) == objective


def test_a_reference_of_the_config_stands_above_the_teachers():
    config = objective_config("N2NReward", reference_params=5_000_000)
    objective = make_objective(config, **REFERENCES)
    assert objective == N2NReward(0.9, 5_000_000)


@pytest.mark.parametrize("name", ["Smallest", "logparams", "", None])
def test_an_unknown_objective_is_refused_with_the_known_ones(name):
    with pytest.raises(
        ConfigError,
        match=f"{name!r}; .* LogParams, Tolerance, Budget, N2NReward",
    ):
        make_objective(objective_config(name))


def test_an_objective_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="Unknown objective None"):
        make_objective(ml_collections.ConfigDict({"weight": 0.1}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (objective_config("Budget"), "Budget has .* max_params; got none"),
        (
            objective_config("Budget", max_parameters=7),
            "max_params; got max_parameters",
        ),
        (
            objective_config("LogParams", weight=1, max_params=7),
            "weight; got max_params, weight",
        ),
        (
            objective_config("Tolerance", max_drop=0.1),
            "max_drop, reference_accuracy; got max_drop",
        ),
    ],
)
def test_an_objective_with_the_wrong_fields_is_refused_with_the_right_ones(
    config, message
):
    with pytest.raises(ConfigError, match=message):
        make_objective(config)
