"""Tests of the files in configs/.

The config of each data set is run from start to end, a step a training.
"""

import importlib.util
import pathlib

import keras
import ml_collections
import pytest
import tensorflow_datasets as tfds
import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.config import ConfigError, default_config, make_objective
from archcomp_tf.cost import num_params
from archcomp_tf.pipeline import run_stages
from archcomp_tf.run import Run
from archcomp_tf.training import Recipe

_FOLDER = pathlib.Path(__file__).parent.parent / "configs"
_NAMES = sorted(path.stem for path in _FOLDER.glob("*.py"))
every_config = pytest.mark.parametrize("name", _NAMES)

# Config -> shape of its images, classes, parameters of its teacher, trainable
# or not.  Where the teacher is a file and no text there is no number: None.
PINNED = {
    "cifar10": ((32, 32, 3), 10, 11_183_626),
    "cifar100": ((32, 32, 3), 100, 11_183_626 + 90 * 513),
    "custom": (None, None, None),
    "digits": ((8, 8, 1), 10, 335_594),
    "fashion_mnist": ((28, 28, 1), 10, 577_610),
    "svhn_cropped": ((32, 32, 3), 10, 11_183_626),
}
# Data set -> examples a split of its stand-in: enough of each class.
_DATASETS = {
    "cifar10": 200,
    "cifar100": 2000,
    "fashion_mnist": 200,
    "svhn_cropped": 200,
}


def _config(name: str, *arguments: str) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


def _short_config(name: str, *arguments: str) -> ml_collections.ConfigDict:
    config = _config(name, *arguments)
    config.update_from_flattened_dict(_SHORT)
    return config


# One step a training.
_SHORT = {
    "num_workers": 1,
    "labels.num_labels": 9,
    "labels.num_initial": 8,
    "autoencoder.epochs": 1,
    "autoencoder.num_architectures": 64,
    "student.num_finalists": 1,
    "student.num_seeds": 1,
    "student.num_tuning_trials": 1,
} | {
    f"{part}.recipe.{field}": value
    for part in ("teacher", "labels", "student")
    for field, value in (("epochs", 1), ("num_images", 32), ("batch_size", 32))
}


def _dicts(config, name="config"):
    """The config and all configs in it, by dotted name."""
    yield name, config
    for field, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from _dicts(value, f"{name}.{field}")


def test_every_config_has_its_teacher_pinned_here():
    assert set(_NAMES) == set(PINNED)


@pytest.mark.parametrize("name", ["the default", *_NAMES])
def test_an_unknown_field_is_an_error_anywhere_in_a_config(name):
    config = _config(name) if name in _NAMES else default_config()
    for _, fields in _dicts(config):
        with pytest.raises(AttributeError, match="colour"):
            fields.colour = "red"


@every_config
def test_a_config_has_the_fields_of_the_default(name):
    config = _config(name)
    names = {
        name: sorted(fields) for name, fields in _dicts(default_config())
    } | {"config.objective": sorted(config.objective)}
    assert {name: sorted(fields) for name, fields in _dicts(config)} == names


@every_config
def test_the_objective_and_recipes_of_a_config_can_be_made(name):
    config = _config(name)
    make_objective(
        config.objective, reference_accuracy=0.9, reference_params=1_000_000
    )
    for part in (config.teacher, config.labels, config.student):
        Recipe(**part.recipe)


@every_config
def test_a_config_names_one_teacher_with_the_pinned_size(name):
    teacher = _config(name).teacher
    assert bool(teacher.architecture) != bool(teacher.model)
    input_shape, num_classes, pinned = PINNED[name]
    if teacher.architecture:
        architecture = Architecture.parse(teacher.architecture)
        assert num_params(architecture, input_shape, num_classes) == pinned
    else:
        assert pinned is None


def test_every_config_of_a_tfds_name_is_run_here():
    # The demonstration's own run is `make demo`; `custom` is run below.
    assert set(_NAMES) - {"digits", "custom"} == set(_DATASETS)


@pytest.mark.parametrize("name", _DATASETS)
def test_a_config_runs_from_the_teacher_to_the_report(name, tmp_path):
    config = _short_config(name, "vgg7")
    teacher = Architecture.parse(config.teacher.architecture).scale_width(1 / 8)
    config.teacher.architecture = str(teacher)
    config.objective.max_params = 2_000
    with tfds.testing.mock_data(num_examples=_DATASETS[name]):
        results = run_stages(Run(config, tmp_path)).results
    student = results["student"]
    assert results["dataset"] == name
    assert student["compression_ratio"] == (
        results["teacher"]["num_params"] / student["num_params"]
    )
    images = {"fashion_mnist": (28, 28, 1)}.get(name, (32, 32, 3))
    classes = 100 if name == "cifar100" else 10
    architecture = Architecture.parse(student["architecture"])
    assert student["num_params"] == num_params(architecture, images, classes)


def test_the_config_for_ones_own_compresses_a_file_on_ones_own_images(
    tmp_path,
):
    keras.utils.set_random_seed(0)  # it is not trained
    config = _short_config("custom")
    config.dataset = tiny.write_npz(tmp_path / "data.npz")
    model = build(
        Architecture.parse("conv3x3-8 conv3x3-8"),
        tiny.SHAPE,
        tiny.NUM_CLASSES,
    )
    model.save(tmp_path / "model.keras")
    config.teacher.model = str(tmp_path / "model.keras")
    config.limits.max_params = 300
    result = run_stages(Run(config, tmp_path / "workdir"))
    assert result.student.count_params() <= 300
    assert result.results["teacher"]["num_params"] == model.count_params()


def test_the_plain_method_of_the_paper_runs_beside_ours(tmp_path):
    config = _short_config("digits", "paper")
    assert config.autoencoder.mode == "joint"
    config.update_from_flattened_dict(
        {"labels.num_labels": 11, "labels.max_seconds": 60.0}
    )
    config.teacher.architecture = "conv3x3-8 max_pool2x2/2 conv3x3-8"
    results = run_stages(Run(config, tmp_path)).results
    assert results["search"]["num_rounds"] == 1
    assert results["search"]["num_labels"] == 11
    with pytest.raises(ConfigError, match="got 'papre'"):
        _config("digits", "papre")
