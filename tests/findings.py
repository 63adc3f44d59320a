"""What a search found, by a formula in place of trainings."""

import functools

import numpy as np

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.benchmarks import SyntheticBenchmark
from archcomp_tf.corpus import FAILED, Record
from archcomp_tf.latent import LatentMap
from archcomp_tf.search_space import SearchSpace

SHAPE = (8, 8, 1)
NUM_CLASSES = 10
TEACHER = Architecture.parse(
    "conv3x3-32 conv3x3-64 max_pool2x2/2 conv3x3-128 conv3x3-128"
)
SPACE = SearchSpace.around(TEACHER, SHAPE, NUM_CLASSES)
BENCHMARK = SyntheticBenchmark(SPACE)
NUM_LABELLED = 24


def _record(architecture):
    return Record(
        architecture,
        BENCHMARK.accuracy(architecture),
        BENCHMARK.count_params(architecture),
    )


@functools.cache
def records():
    """Samples, one of which failed; the last has a removed layer."""
    rng = np.random.default_rng(0)
    found = [_record(SPACE.sample(rng)) for _ in range(NUM_LABELLED - 1)]
    failed = Record(
        SPACE.sample(rng), np.nan, 7, status=FAILED, reason="diverged"
    )
    student = Architecture.parse(
        "conv3x3-8 identity max_pool2x2/2 separable_conv1x1-16 conv3x3-32"
    )
    return (*found, failed, _record(student))


def labelled():
    return [record for record in records() if record.status != FAILED]


def student():
    return records()[-1]


def predictions():
    """Fingerprint -> accuracy, of the later half."""
    return {
        record.architecture.fingerprint: record.accuracy - 0.01
        for record in labelled()[NUM_LABELLED // 2 :]
    }


def latent(num_descents=3, num_steps=9):
    """Points near a plane, and straight paths."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(NUM_LABELLED, 6)) * [9, 5, 1, 0.1, 0.1, 0.1]
    ends = rng.normal(size=(num_descents, 6))
    paths = z[:num_descents] + np.linspace(0, 1, num_steps)[:, None, None] * (
        ends - z[:num_descents]
    )
    shape = (num_steps, num_descents)
    return LatentMap(
        z,
        paths,
        np.full(shape, 0.75),
        np.linspace(5, 3, num_steps)[:, None] * np.ones(shape),
        np.full(shape, "conv3x3-7"),
    )


def _network(architecture, test, **fields):
    size = BENCHMARK.count_params(architecture)
    return {
        "architecture": str(architecture.compact),
        "fingerprint": architecture.fingerprint,
        "num_params": size,
        "num_flops": cost.num_flops(architecture, SHAPE, NUM_CLASSES),
        "validation_accuracy": test + 0.01,
        "validation_accuracies": [test, test + 0.01],
        "test_accuracy": test,
        "compression_ratio": BENCHMARK.count_params(TEACHER) / size,
        "predicted_accuracy": None,
        "broken_limits": [],
    } | fields


def results():
    """The contents of a results.json."""
    other = Architecture.parse("conv3x3-16 max_pool2x2/2 conv3x3-16")
    return {
        "config": {
            "labels": {"num_labels": NUM_LABELLED + 1},
            "limits": {"max_params": 20_000, "max_flops": 0},
            "objective": {"name": "Budget", "max_params": 7},
        },
        "dataset": "shapes <&>",
        "seed": 3,
        "seconds": {"teacher": 12.0, "search": 3725.0, "students": 90.0},
        "environment": {
            "teacher": {"python": "3.12.1", "num_gpus": 1, "commit": None},
            "search": {"python": "3.12.1", "num_gpus": 1, "commit": None},
            "report": {"python": "3.11.7", "num_gpus": 0, "commit": None},
        },
        "teacher": _network(TEACHER, 0.93),
        "student": _network(
            student().architecture,
            0.90,
            test_accuracies=[0.90, 0.92, 0.91],
        ),
        "controls": {
            "width_scaled": _network(TEACHER.scale_width(0.1), 0.88),
            "random_search": _network(labelled()[0].architecture, 0.91),
            "tinynet": _network(other, 0.915),
        },
        "search": {"num_labels": NUM_LABELLED + 1, "num_rounds": 4},
        "embedding": {
            "exact_reconstruction": 1.0,
            "accuracy_spearman": 0.625,
            "params_mape": 0.02,
        },
        "classes": {
            "num_images": [1200, 40, 3],
            "teacher": [0.95, 0.8, 1.0],
            "student": [0.945, 0.6, 1.0],
        },
        "doubts": ["The teacher guesses <&>."],
        "files": {
            "teacher_float32": _file(900_000, 60_000, 0.93, 0.8),
            "student_float32": _file(30_000, 20_000, 0.90, 0.2),
            "student_float16": _file(20_000, 20_000, 0.90, 0.4),
            "student_int8": _file(15_000, 5_000, 0.89, 0.1),
        },
    }


def _file(num_bytes, ram_bytes, accuracy, latency):
    return {
        "bytes": num_bytes,
        "ram_bytes": ram_bytes,
        "accuracy": accuracy,
        "num_images": 2000,
        "latency_ms": latency,
    }
