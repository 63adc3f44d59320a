"""Data and settings small enough for tests that train."""

import numpy as np

from archcomp_tf.builder import build
from archcomp_tf.config import default_config, objective_config, recipe_config
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.run import Run

SHAPE = (4, 4, 1)
NUM_CLASSES = 2


def split(num, seed):
    """Images that are bright on the side that their class names."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % NUM_CLASSES
    images = rng.uniform(0, 0.3, (num, *SHAPE))
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += 0.6
    return Split(images.astype(np.float32), labels.astype(np.int32))


def dataset():
    return Dataset(
        "sides", NUM_CLASSES, split(64, 0), split(32, 1), split(32, 2)
    )


def write_npz(path):
    """The same images as an .npz file."""
    train, test = split(96, 0), split(32, 2)
    np.savez(
        path,
        x_train=train.images,
        y_train=train.labels,
        x_test=test.images,
        y_test=test.labels,
    )
    return str(path)


def config(path):
    """Everything as short as it can be."""
    config = default_config()
    with config.unlocked():
        config.dataset = str(path)
        config.num_workers = 1
        config.teacher.architecture = "conv3x3-16 conv3x3-16 max_pool2x2/2"
        config.teacher.recipe = recipe_config(epochs=3, batch_size=16)
        config.space.num_widths = 4
        config.objective = objective_config("LogParams", weight=0.05)
        config.labels.num_labels = 10
        config.labels.num_initial = 8
        config.labels.labels_a_round = 2
        config.labels.recipe = recipe_config(epochs=1, batch_size=32)
        config.autoencoder.channels = 4
        config.autoencoder.width = 16
        config.autoencoder.epochs = 2
        config.autoencoder.num_architectures = 128
        config.student.recipe = recipe_config(epochs=2, batch_size=16)
        config.student.num_finalists = 2
        config.student.num_seeds = 2
        config.student.num_tuning_trials = 2
    return config


VALIDATION = 0.9  # what the teacher of `taught_run` is said to have


def taught_run(folder, network, teacher=None, **changes):
    """A run whose teacher stage is done.

    Args:
      folder: its working directory.
      network: the teacher's architecture.
      teacher: a model of it; by default it is built, and not trained.
      **changes: flat names of the config's fields and their values.
    """
    settings = config("")
    settings.update_from_flattened_dict(changes)
    run = Run(settings, folder, dataset=dataset())
    teacher = teacher or build(network, SHAPE, NUM_CLASSES)
    (run.workdir.path / "teacher").mkdir(exist_ok=True)
    teacher.save(run.path("teacher/model.keras"))
    record = run.described(network) | {"validation_accuracy": VALIDATION}
    run.workdir.finish_stage("teacher", record)
    return run


def get_config():
    """Lets this file be a --config; the data set is given beside it."""
    return config("")
