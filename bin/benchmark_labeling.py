"""Measures labelling: how fast, what a label is worth, what kills it survives.

The control is the loop that one would write without this package: `build`,
`compile`, `fit`, `evaluate`, one network after the other, on all cores.  Each
part writes PART_DATASET.json to --output, and is not run again where that is
there.
"""

import dataclasses
import json
import logging
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

from absl import app, flags

from archcomp_tf import quiet

_PARTS = ("speed", "rank", "kills", "memory")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results.")
_PART = flags.DEFINE_multi_enum("part", _PARTS, [*_PARTS], "What to measure.")
_DATASET = flags.DEFINE_string(
    "dataset", "digits", "What is labelled: see datasets.load."
)
_IMAGES = flags.DEFINE_integer(
    "num_images",
    10_000,
    "Of the training split, at most; a fifth as many of the validation split.",
    10,
)
_TEACHER = flags.DEFINE_string(
    "teacher",
    "conv3x3-32 conv3x3-64 max_pool2x2/2 conv3x3-96 conv3x3-128 "
    "max_pool2x2/2 conv3x3-128",
    "Around which networks are labelled, in text form.",
)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of a label.", 1)
_NETWORKS = flags.DEFINE_integer("num_networks", 40, "To label.", 2)
_WORKERS = flags.DEFINE_integer("num_workers", 2, "Labelling processes.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of everything random.")
_CORPUS = flags.DEFINE_string(
    "corpus", None, "Only label into this file, as the part `kills` asks for."
)

_NUM_KILLS = 20
_LONG = 5  # times the epochs of a label


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    quiet.load_keras()
    logging.getLogger("archcomp_tf").setLevel(logging.ERROR)
    if _CORPUS.value:
        _labels(_task(), _networks(), _CORPUS.value)
        return 0
    from archcomp_tf.environment import environment

    output = pathlib.Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    for part in _PART.value:
        path = output / f"{part}_{pathlib.Path(_DATASET.value).stem}.json"
        if not path.exists():
            start = time.monotonic()
            result = globals()[f"_{part}"]()
            result |= {
                "flags": {
                    flag.name: flag.value
                    for flag in flags.FLAGS.get_key_flags_for_module(
                        sys.argv[0]
                    )
                    if flag.name != "output"  # no setting of what is measured
                },
                "seconds": round(time.monotonic() - start, 1),
                "cores": os.cpu_count(),
                "environment": environment(),
            }
            path.write_text(json.dumps(result, indent=2) + "\n")
        summary = json.loads(path.read_text())
        summary.pop("environment")
        print(part, json.dumps(summary))
    return 0


def _dataset():
    from archcomp_tf import datasets

    data = datasets.load(_DATASET.value, seed=_SEED.value)
    return dataclasses.replace(
        data,
        train=data.train[: _IMAGES.value],
        validation=data.validation[: _IMAGES.value // 5],
    )


def _space(data):
    from archcomp_tf.architecture import Architecture
    from archcomp_tf.search_space import SearchSpace

    return SearchSpace.around(
        Architecture.parse(_TEACHER.value),
        data.input_shape,
        data.num_classes,
    )


def _recipe():
    from archcomp_tf.training import Recipe

    return Recipe(epochs=_EPOCHS.value)


def _task(distil: bool = False, seed: int = 0):
    """How networks are labelled; a teacher is trained if they are distilled."""
    from archcomp_tf import distillation, training
    from archcomp_tf.architecture import Architecture
    from archcomp_tf.task import Task

    data = _dataset()
    logits = None
    if distil:
        teacher, _ = training.build_and_train(
            Architecture.parse(_TEACHER.value),
            data,
            dataclasses.replace(_recipe(), learning_rate=0.05),
            seed=_SEED.value,
        )
        logits = distillation.teacher_logits(teacher, data.train.images)
    return Task(data, _recipe(), _SEED.value + seed, logits)


def _networks(num: int | None = None):
    """Different samples of the space."""
    from archcomp_tf.samples import initial_samples

    return initial_samples(
        _space(_dataset()), num or _NETWORKS.value, _SEED.value
    )


def _labels(task, networks, path=None) -> list[float]:
    """NaN where a label failed."""
    import contextlib

    from archcomp_tf.corpus import Corpus
    from archcomp_tf.labeling import Labeler, LabelError

    labeler = Labeler(task, Corpus(path), num_workers=_WORKERS.value)
    with contextlib.closing(labeler):
        labels = labeler(networks)
    return [
        float("nan") if isinstance(label, LabelError) else label
        for label in labels
    ]


def _plain_label(architecture, data, seed: int) -> float:
    """The control: Keras' own trainer; NaN where the backend gives up."""
    from archcomp_tf import backend

    try:
        return _fitted_accuracy(architecture, data, seed)
    except backend.errors() as error:
        print(f"plain: {architecture}: {str(error)[:200]}", file=sys.stderr)
        return float("nan")


def _fitted_accuracy(architecture, data, seed: int) -> float:
    """Validation accuracy by Keras' own trainer, on the labels alone."""
    import keras

    from archcomp_tf.builder import build
    from archcomp_tf.images import unit

    recipe = _recipe()
    keras.utils.set_random_seed(seed)
    model = build(architecture, data.input_shape, data.num_classes)
    num_steps = recipe.epochs * -(-len(data.train) // recipe.batch_size)
    model.compile(
        keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(
                recipe.learning_rate / max(1, num_steps // 10),
                num_steps - num_steps // 10,
                warmup_target=recipe.learning_rate,
                warmup_steps=num_steps // 10,
            ),
            momentum=0.9,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        unit(data.train.images),
        data.train.labels,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        verbose=0,
    )
    _, accuracy = model.evaluate(
        unit(data.validation.images),
        data.validation.labels,
        batch_size=512,
        verbose=0,
    )
    return accuracy


def _speed() -> dict:
    """Labels an hour: half of the control, ours, the other half.

    The first label of each is left out: it starts the processes.
    """
    import contextlib

    from archcomp_tf.corpus import Corpus
    from archcomp_tf.labeling import Labeler

    task, networks = _task(distil=True), _networks()
    half = len(networks) // 2
    plain_seconds = []

    def plain(some):
        for architecture in some:
            start = time.monotonic()
            _plain_label(architecture, task.dataset, _SEED.value)
            plain_seconds.append(time.monotonic() - start)

    _plain_label(networks[0], task.dataset, _SEED.value)
    plain(networks[:half])
    corpus = Corpus()
    labeler = Labeler(task, corpus, num_workers=_WORKERS.value)
    with contextlib.closing(labeler):
        start = time.monotonic()
        warm = _networks(len(networks) + _WORKERS.value)[len(networks) :]
        labeler(warm)
        starting = time.monotonic() - start
        start = time.monotonic()
        labeler(networks)
        ours = time.monotonic() - start
    plain(networks[half:])
    total = sum(plain_seconds)
    return {
        "num_networks": len(networks),
        "num_images_seen": _EPOCHS.value * len(task.dataset.train),
        "plain_labels_an_hour": round(3600 * len(networks) / total, 1),
        "labels_an_hour": round(3600 * len(networks) / ours, 1),
        "ratio": round(total / ours, 2),
        "seconds_to_start_the_workers": round(starting, 1),
        "plain_seconds": [round(seconds, 2) for seconds in plain_seconds],
        "worker_seconds": [r.seconds for r in list(corpus)[len(warm) :]],
    }


def _rank() -> dict:
    """Spearman with a long training, of our labels and of the control's."""
    import numpy as np
    import scipy.stats

    from archcomp_tf.architecture import Architecture

    task = _task(distil=True, seed=100)
    count = _space(task.dataset).count_params
    # Along the front: of each of so many sizes, the best of four by labels
    # that are not used again.
    pool = sorted(_networks(4 * _NETWORKS.value), key=count)
    labels = _labels(task, pool)
    front: list[Architecture] = []
    for start in range(0, len(pool), 4):
        best = np.nanargmax(labels[start : start + 4])
        front.append(pool[start + int(best)])
    brief = [
        _labels(dataclasses.replace(task, seed=seed), front) for seed in (0, 1)
    ]
    plain = [
        [_plain_label(a, task.dataset, seed) for a in front] for seed in (0, 1)
    ]
    recipe = dataclasses.replace(_recipe(), epochs=_LONG * _EPOCHS.value)
    longs = [
        _labels(dataclasses.replace(task, seed=seed, recipe=recipe), front)
        for seed in (2, 3)
    ]
    long = np.mean(longs, axis=0)

    def spearman(one, other) -> float:
        result = scipy.stats.spearmanr(one, other, nan_policy="omit")
        return round(float(result.statistic), 4)

    return {
        "num_networks": len(front),
        "spearman": [spearman(labels, long) for labels in brief],
        "plain_spearman": [spearman(labels, long) for labels in plain],
        # What two long trainings have to say of each other: the ceiling.
        "long_spearman": spearman(*longs),
        "networks": [
            {
                "architecture": str(a),
                "num_params": count(a),
                "labels": [labels[i] for labels in brief],
                "plain": [labels[i] for labels in plain],
                "long": [labels[i] for labels in longs],
            }
            for i, a in enumerate(front)
        ],
    }


def _kills() -> dict:
    """Kills the chief, a worker or everything, at random moments."""
    import tempfile

    rng = random.Random(_SEED.value)
    victims, doubled, lost, restarts, rounds = [], 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        expected = pathlib.Path(folder) / "whole.jsonl"
        _chief(expected).wait()
        labels = _accuracies(expected.read_bytes())
        while len(victims) < _NUM_KILLS:
            rounds += 1
            path = pathlib.Path(folder) / f"{rounds}.jsonl"
            chief = _chief(path)
            while chief.poll() is None:
                try:
                    chief.wait(timeout=rng.uniform(0.0, 20.0))
                    break
                except subprocess.TimeoutExpired:
                    pass
                if len(victims) == _NUM_KILLS:
                    chief.wait()
                    break
                before = path.read_bytes() if path.exists() else b""
                victim = rng.choice(["chief", "worker", "everything"])
                if not _kill(chief, victim, rng):
                    continue  # no worker yet
                victims.append(victim)
                after = path.read_bytes() if path.exists() else b""
                lost += not after.startswith(before[: before.rfind(b"\n") + 1])
                if victim != "worker":
                    chief.wait()
                    restarts += 1
                    chief = _chief(path)
            if chief.returncode:
                raise RuntimeError(f"The chief ended with {chief.returncode}.")
            content = path.read_bytes()
            doubled += content.count(b"\n") - len(labels)
            lost += _accuracies(content) != labels
    return {
        "kills": {v: victims.count(v) for v in sorted(set(victims))},
        "restarts": restarts,
        "corpora": rounds,
        "labels_a_corpus": len(labels),
        "lost_or_other": lost,
        "doubled": doubled,
    }


def _chief(path: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            __file__,
            f"--corpus={path}",
            "--output=-",
            f"--num_networks={_NETWORKS.value}",
            f"--epochs={_EPOCHS.value}",
            f"--num_images={_IMAGES.value}",
            f"--teacher={_TEACHER.value}",
            f"--num_workers={_WORKERS.value}",
            f"--dataset={_DATASET.value}",
            f"--seed={_SEED.value}",
        ],
        start_new_session=True,
    )


def _kill(chief: subprocess.Popen, victim: str, rng: random.Random) -> bool:
    if victim == "everything":
        os.killpg(chief.pid, signal.SIGKILL)
    elif victim == "chief":
        chief.kill()
    else:
        children = pathlib.Path(
            f"/proc/{chief.pid}/task/{chief.pid}/children"
        ).read_text()
        workers = [
            int(pid)
            for pid in children.split()
            if b"spawn_main"
            in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        if not workers:
            return False
        os.kill(rng.choice(workers), signal.SIGKILL)
    return True


def _accuracies(content: bytes) -> dict[str, float]:
    return {
        json.dumps(record["architecture"]): record["accuracy"]
        for record in map(json.loads, content.splitlines())
    }


def _memory() -> dict:
    """Resident memory of one process that labels 1,000 tiny networks."""
    import numpy as np

    from archcomp_tf.corpus import Corpus
    from archcomp_tf.datasets import Dataset, Split
    from archcomp_tf.labeling import Labeler
    from archcomp_tf.task import Task
    from archcomp_tf.training import Recipe

    rng = np.random.default_rng(_SEED.value)

    def split(num):
        return Split(
            rng.uniform(size=(num, 8, 8, 1)).astype(np.float32),
            rng.integers(0, 10, num, dtype=np.int32),
        )

    data = Dataset("noise", 10, split(64), split(32), split(0))
    task = Task(data, Recipe(epochs=1, batch_size=32), _SEED.value)
    labeler = Labeler(task, Corpus())
    networks = _networks(1000)
    megabytes = {}
    for start in range(0, len(networks), 50):
        labeler(networks[start : start + 50])
        status = pathlib.Path("/proc/self/status").read_text()
        megabytes[start + 50] = int(status.split("VmRSS:")[1].split()[0]) >> 10
    return {
        "megabytes": megabytes,
        "last_to_first": round(megabytes[1000] / megabytes[50], 3),
    }


if __name__ == "__main__":
    flags.mark_flag_as_required("output")
    app.run(lambda argv: sys.exit(main(argv)))
