"""Runs the config of each data set from start to end, a step a training."""

import importlib.util
import pathlib

import pytest
import tensorflow_datasets as tfds

from archcomp_tf.architecture import Architecture
from archcomp_tf.cost import num_params
from archcomp_tf.pipeline import Pipeline

_FOLDER = pathlib.Path(__file__).parent.parent / "configs"
# Data set -> examples a split of its stand-in: enough of each class.
_DATASETS = {
    "cifar10": 200,
    "cifar100": 2000,
    "fashion_mnist": 200,
    "svhn_cropped": 200,
}


def _config(name: str):
    spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config("vgg7")


def test_every_config_of_a_tfds_name_is_run_here():
    # The demonstration's own run is `make demo`.
    files = {path.stem for path in _FOLDER.glob("*.py")} - {"digits"}
    assert files == set(_DATASETS)


@pytest.mark.parametrize("name", _DATASETS)
def test_a_config_runs_from_the_teacher_to_the_report(name, tmp_path):
    config = _config(name)
    teacher = Architecture.parse(config.teacher.architecture).scale_width(1 / 8)
    changes = {
        "num_workers": 1,
        "teacher.architecture": str(teacher),
        "labels.num_labels": 9,
        "labels.num_initial": 8,
        "autoencoder.epochs": 1,
        "autoencoder.num_architectures": 64,
        "student.num_finalists": 1,
        "student.num_seeds": 1,
        "objective.max_params": 2_000,
    }
    for recipe in ("teacher", "labels", "student"):
        changes |= {
            f"{recipe}.recipe.epochs": 1,
            f"{recipe}.recipe.num_images": 32,
            f"{recipe}.recipe.batch_size": 32,
        }
    config.update_from_flattened_dict(changes)
    with tfds.testing.mock_data(num_examples=_DATASETS[name]):
        results = Pipeline(config, tmp_path).run().results
    student = results["student"]
    assert results["dataset"] == name
    assert student["compression_ratio"] == (
        results["teacher"]["num_params"] / student["num_params"]
    )
    images = {"fashion_mnist": (28, 28, 1)}.get(name, (32, 32, 3))
    classes = 100 if name == "cifar100" else 10
    architecture = Architecture.parse(student["architecture"])
    assert student["num_params"] == num_params(architecture, images, classes)
