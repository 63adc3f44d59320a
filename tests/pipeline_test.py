"""Tests of the whole flow on a tiny data set: files, resuming, refusals."""

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import random
import shutil

import browser
import fresh
import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

import archcomp_tf
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import BackendError, dtype_policy
from archcomp_tf.builder import build
from archcomp_tf.config import ConfigError, num_initial
from archcomp_tf.corpus import Corpus
from archcomp_tf.importer import UnsupportedModelError
from archcomp_tf.inference import accuracy
from archcomp_tf.labeling import LabelError
from archcomp_tf.limits import LimitError, Limits, excess
from archcomp_tf.objective import LogParams
from archcomp_tf.pipeline import run_stage, run_stages
from archcomp_tf.run import Run
from archcomp_tf.task import Task
from archcomp_tf.training import Recipe
from archcomp_tf.workdir import STAGES, MissingStageError, OtherConfigError

NETWORK_FIELDS = {
    "architecture",
    "num_params",
    "num_flops",
    "validation_accuracy",
    "test_accuracy",
}
STUDENT_FIELDS = NETWORK_FIELDS | {
    "fingerprint",
    "compression_ratio",
    "predicted_accuracy",
    "validation_accuracies",
    "test_accuracies",
    "broken_limits",
}


@pytest.fixture(autouse=True)
def _seeded():
    """A teacher that nobody trained is the same one each time."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: its config, its working directory, its result."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny.config(tiny.write_npz(folder / "data.npz"))
    config.student.controls = ("separable_conv",)
    workdir = folder / "workdir"
    return config, workdir, run_stages(Run(config, workdir))


def test_results_have_every_field_that_was_promised(finished):
    config, workdir, result = finished
    results = json.loads((workdir / "report/results.json").read_text())
    assert results == result.results
    assert set(results) == {
        "config",
        "doubts",
        "dataset",
        "seed",
        "seconds",
        "environment",
        "teacher",
        "student",
        "controls",
        "classes",
        "files",
        "search",
        "embedding",
    }
    assert results["config"] == json.loads(config.to_json())
    assert set(results["seconds"]) == set(STAGES) - {"report"}
    assert set(results["environment"]) == set(STAGES)
    assert set(results["teacher"]) == NETWORK_FIELDS
    assert set(results["student"]) == STUDENT_FIELDS
    controls = {"width_scaled", "random_search", "separable_conv"}
    assert set(results["controls"]) == controls
    for control in results["controls"].values():
        assert set(control) == STUDENT_FIELDS
    assert results["search"] == {
        "num_labels": 10,
        "num_known": 0,
        "num_rounds": 1,
    }
    assert set(results["embedding"]) == {
        "exact_reconstruction",
        "accuracy_spearman",
        "params_mape",
    }


def test_a_control_is_the_teacher_of_another_kind_at_the_students_size(
    finished,
):
    _, _, result = finished
    control = result.results["controls"]["separable_conv"]
    found = Architecture.parse(control["architecture"])
    kinds = [layer.kind for layer in found.layers]
    assert kinds == ["conv", "separable_conv", "max_pool"]

    def distance(architecture):
        size = archcomp_tf.num_params(
            architecture, tiny.SHAPE, tiny.NUM_CLASSES
        )
        return abs(size - result.results["student"]["num_params"])

    widths = range(1, 17)  # the teacher's own are 16
    expected = min(
        (
            Architecture.parse(
                f"conv3x3-{width} separable_conv3x3-{width} max_pool2x2/2"
            )
            for width in widths
        ),
        key=distance,
    )
    assert distance(found) == distance(expected)


def test_the_student_on_the_disk_is_what_the_report_says(finished):
    config, workdir, result = finished
    student = result.results["student"]
    assert result.student.count_params() == student["num_params"]
    assert str(result.architecture) == student["architecture"]
    test = archcomp_tf.datasets.load(config.dataset).test
    assert accuracy(result.student, test) == student["test_accuracy"]
    folder = workdir / "students" / student["fingerprint"]
    # A process of its own, which has TensorFlow and nothing of ours.
    program = f"""
import sys, numpy as np, tensorflow as tf
sys.modules["archcomp_tf"] = None  # importing it is an error
data = np.load({config.dataset!r})
images = np.round(data["x_test"] * 255).astype("uint8")
model = tf.saved_model.load({str(folder / "saved_model")!r})
print(np.mean(np.argmax(model.classify(images), -1) == data["y_test"]))
"""
    assert float(fresh.output(program, cwd=workdir)) == pytest.approx(
        student["test_accuracy"], abs=1 / 32
    )


@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_a_run_goes_as_far_as_its_report_where_tensorflow_is_not_installed(
    tmp_path, backend_name
):
    if importlib.util.find_spec(backend_name) is None:
        pytest.skip(f"needs {backend_name}, which is not installed")
    data = tiny.write_npz(tmp_path / "data.npz")
    program = f"""
import sys
sys.modules["tensorflow"] = None  # importing it fails
import tiny
from archcomp_tf.backend import BackendError
from archcomp_tf.pipeline import run_stage, run_stages
from archcomp_tf.run import Run

try:
    run_stages(Run(tiny.config({data!r}), "run"))
except BackendError as error:
    print(error)
"""
    said = fresh.output(program, cwd=tmp_path, KERAS_BACKEND=backend_name)
    assert "report" in said and "carried" in said
    # It is carried to where it is installed.
    result = run_stages(Run(tiny.config(data), tmp_path / "run"))
    assert result.results["student"]["validation_accuracy"] >= 0.5
    assert result.results["search"]["num_labels"] == 10
    environment = result.results["environment"]
    assert backend_name in environment["search"]
    assert "tensorflow" in environment["report"]
    assert (tmp_path / "run/search/embedding/saved_model.pb").exists()


def test_a_limit_that_has_to_be_measured_needs_tensorflow(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    config.limits.max_latency_ms = 1.0
    with pytest.raises(BackendError, match="latency needs TensorFlow"):
        Run(config, tmp_path / "run")


def test_the_keras_file_is_smaller_as_the_network_is(finished):
    _, workdir, result = finished
    fingerprint = result.results["student"]["fingerprint"]
    student = workdir / "students" / fingerprint / "model.keras"
    teacher = workdir / "teacher/model.keras"
    # Besides 4 bytes a weight there are the layers' names and fields.
    weights = 4 * (
        result.results["teacher"]["num_params"]
        - result.results["student"]["num_params"]
    )
    smaller = teacher.stat().st_size - student.stat().st_size
    assert smaller == pytest.approx(weights, rel=0.3)


def test_every_stage_leaves_tensorboard_scalars(finished):
    _, workdir, _ = finished
    written = {
        path.relative_to(workdir / "tensorboard").parts[0]
        for path in workdir.glob("tensorboard/**/*.tfevents*")
    }
    assert written >= {
        "teacher",
        "labels",
        "autoencoder",
        "descents",
        "embedding",
        "tuning",
        "student_0",
        "student_1",
        "width_scaled_0",
        "random_search_1",
    }


def test_of_several_trainings_the_best_on_validation_data_is_given(finished):
    _, workdir, result = finished
    for network in (result.results["student"], *_controls(result)):
        folder = workdir / "students" / network["fingerprint"]
        accuracies = network["validation_accuracies"]
        assert len(accuracies) == len(network["test_accuracies"]) == 2
        assert network["validation_accuracy"] == max(accuracies)
        best = int(np.argmax(accuracies))
        assert network["test_accuracy"] == network["test_accuracies"][best]
        given, *trainings = (
            keras.models.load_model(folder / name).get_weights()
            for name in ("model.keras", *_trainings(workdir, network))
        )
        for one, other in zip(given, trainings[best], strict=True):
            np.testing.assert_array_equal(one, other)


def _trainings(workdir, network) -> list[pathlib.Path]:
    """Of a student or a control, as the stages name them."""
    stages = [
        json.loads((workdir / f"{name}/stage.json").read_text())
        for name in ("students", "controls")
    ]
    records = [stages[0], *stages[1]["networks"].values()]
    (paths,) = {
        tuple(record["trainings"])
        for record in records
        if record["fingerprint"] == network["fingerprint"]
    }
    return [workdir / path for path in paths]


def _controls(result):
    return result.results["controls"].values()


def test_a_finished_run_is_not_run_again_and_no_label_is_bought_twice(
    finished,
):
    config, workdir, result = finished
    before = {
        path: path.stat().st_mtime_ns
        for path in workdir.rglob("*")
        if path.is_file()
    }
    assert run_stages(Run(config, workdir)).results == result.results
    after = {
        path: path.stat().st_mtime_ns
        for path in workdir.rglob("*")
        if path.is_file()
    }
    assert after == before
    keys = [record.key for record in Corpus(workdir / "corpus/records.jsonl")]
    assert len(keys) == len(set(keys))


def test_a_second_run_has_the_same_corpus_and_the_same_student(
    finished, tmp_path
):
    config, workdir, result = finished
    random.seed(7)  # of nothing that is used
    again = run_stages(Run(config, tmp_path / "again"))
    first, second = (
        [(r.key, r.accuracy) for r in Corpus(folder / "corpus/records.jsonl")]
        for folder in (workdir, tmp_path / "again")
    )
    assert first == second
    for key in ("teacher", "student", "controls", "embedding"):
        assert again.results[key] == result.results[key]


@pytest.mark.parametrize("stage", list(STAGES)[1:])
def test_a_stage_says_which_stage_it_is_missing(stage, tmp_path):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    before = list(STAGES)[: list(STAGES).index(stage)]
    run = Run(config, tmp_path / "workdir")
    with pytest.raises(MissingStageError) as error:
        run_stage(run, stage)
    assert any(STAGES[name] in str(error.value) for name in before)


def test_the_five_lines_compress_a_model_made_by_hand(tmp_path):
    dataset = tiny.dataset()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    teacher = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(tiny.NUM_CLASSES, activation="softmax"),
        ]
    )
    teacher.compile("adam", "sparse_categorical_crossentropy")
    teacher.fit(dataset.train.images, dataset.train.labels, verbose=0)
    result = archcomp_tf.compress(
        teacher,
        dataset,
        objective=LogParams(0.05),
        num_labels=10,
        workdir=tmp_path,
        config=tiny.config(""),
    )
    assert result.results["teacher"]["num_params"] == teacher.count_params()
    assert result.student.count_params() < teacher.count_params()
    outputs = result.student(dataset.test.images[:3])
    assert outputs.shape == (3, tiny.NUM_CLASSES)
    sizes = [record.num_params for record in result.pareto]
    accuracies = [record.accuracy for record in result.pareto]
    assert sizes == sorted(set(sizes))
    assert accuracies == sorted(set(accuracies))
    assert (result.folder / "litert/int8.tflite").exists()
    assert result.report.read_text().startswith("<!")


def test_a_run_begins_with_what_another_has_learnt(finished, tmp_path):
    config, workdir, _ = finished
    corpus = Corpus(workdir / "corpus/records.jsonl")
    recipe = Recipe(**config.labels.recipe).name
    labels = [r for r in corpus if r.recipe == recipe]
    known = Corpus(tmp_path / "known.jsonl")
    for record in labels:
        known.append(record)
    known.append(
        dataclasses.replace(
            labels[0],
            architecture=archcomp_tf.Architecture.parse("residual3x3-999"),
        )
    )
    known.close()
    second = config.copy_and_resolve_references()
    second.corpus = str(tmp_path / "known.jsonl")
    second.seed = 1
    second.labels.num_labels = 2
    second.labels.num_initial = 2
    results = run_stages(Run(second, tmp_path / "workdir")).results
    assert results["search"]["num_known"] == len(labels)
    assert results["search"]["num_labels"] == 2
    bought = Corpus(tmp_path / "workdir/corpus/records.jsonl")
    before = {r.architecture.fingerprint for r in labels}
    new = [r for r in bought if r.recipe == recipe]
    # What random search labels, as a control, is not held against the search.
    proposed = [r for r in new if r.architecture.fingerprint not in before]
    assert len(proposed) >= 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file .*known.jsonl"),
        ("conv3x3-999", "None of the 1 networks of .* is in the space"),
    ],
)
def test_a_corpus_that_is_of_no_use_says_why(
    finished, tmp_path, content, message
):
    config, workdir, _ = finished
    path = tmp_path / "known.jsonl"
    if content:
        record = next(iter(Corpus(workdir / "corpus/records.jsonl")))
        other = Corpus(path)
        architecture = archcomp_tf.Architecture.parse(content)
        other.append(dataclasses.replace(record, architecture=architecture))
        other.close()
    config = config.copy_and_resolve_references()
    config.corpus = str(path)
    with pytest.raises(ConfigError, match=message):
        run = Run(config, tmp_path / "workdir")
        run_stage(run, "teacher")
        run_stage(run, "corpus")
    # A file that is not there is missed before anything is trained.
    assert (tmp_path / "workdir").exists() == (content is not None)


def test_labels_of_other_images_are_refused(finished, tmp_path):
    config, workdir, _ = finished
    record = next(iter(Corpus(workdir / "corpus/records.jsonl")))
    with contextlib.closing(Corpus(tmp_path / "known.jsonl")) as corpus:
        corpus.append(
            dataclasses.replace(record, num_params=record.num_params + 9)
        )
    config = config.copy_and_resolve_references()
    config.corpus = str(tmp_path / "known.jsonl")
    run = Run(config, tmp_path / "workdir")
    run_stage(run, "teacher")
    message = f"{record.num_params + 9} .*where it has {record.num_params}"
    with pytest.raises(ConfigError, match=message):
        run_stage(run, "corpus")


def test_samples_make_up_for_a_corpus_that_knows_too_little(finished, tmp_path):
    config, workdir, _ = finished
    recipe = Recipe(**config.labels.recipe).name
    records = Corpus(workdir / "corpus/records.jsonl")
    few = [r for r in records if r.recipe == recipe][:5]
    with contextlib.closing(Corpus(tmp_path / "known.jsonl")) as corpus:
        for record in few:
            corpus.append(record)
    config = config.copy_and_resolve_references()
    config.corpus = str(tmp_path / "known.jsonl")
    config.labels.num_initial = 0
    # 3 lack to the 8 that the heads need.
    for num_labels, expected in ((4, 3), (10, 5), (40, 16)):
        config.labels.num_labels = num_labels
        run = Run(config, tmp_path / f"{num_labels}")
        run_stage(run, "teacher")
        assert num_initial(config, len(run.known)) == expected
    config.labels.num_labels = 3
    run = Run(config, tmp_path / "too_few")
    run_stage(run, "teacher")
    with pytest.raises(
        ConfigError, match="Only 5 networks .* 3 samples .*; got 3"
    ):
        run_stage(run, "corpus")


@browser.needs_chromium
def test_a_browser_shows_what_a_run_leaves(finished):
    _, workdir, _ = finished
    with browser.chromium() as tab:
        tab.open((workdir / "report/report.html").as_uri())
        browser.assert_report_is_seen(tab)
        browser.assert_tensorboard_is_seen(tab, workdir)


def _teacher_of_bytes():
    """A model as people make them: it scales its images itself."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            layers.Rescaling(1 / 255),
            layers.RandomFlip(),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(tiny.NUM_CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    split = tiny.dataset().train
    model.fit(255 * split.images, split.labels, epochs=2, verbose=0)
    return model


def test_a_student_takes_what_its_teacher_takes_within_limits(tmp_path):
    split = tiny.split(160, 0)
    images = np.round(255 * split.images).astype(np.uint8)
    # A session that is set to mixed precision, for the teacher.
    with dtype_policy("mixed_float16"):
        teacher = _teacher_of_bytes()
        max_params = teacher.count_params() // 4
        limits = Limits(max_params=max_params, max_flops=15_000)
        result = archcomp_tf.compress(
            teacher,
            (images, split.labels),
            objective=limits,
            num_labels=10,
            workdir=tmp_path,
            config=tiny.config(""),
        )
    # An input layer has no dtype policy of its own, it has the session's.
    found = {layer.compute_dtype for layer in result.student.layers[1:]}
    assert found == {result.student.input.dtype} == {"float32"}
    shape = tiny.SHAPE, tiny.NUM_CLASSES
    assert excess(limits.given, result.architecture, *shape) <= 1
    assert result.student.count_params() <= limits.max_params
    scaling = [
        layer
        for layer in result.student.layers
        if isinstance(layer, keras.layers.Rescaling)
    ]
    assert len(scaling) == 1
    # The same answers from the model, on 0..255, and from the SavedModel.
    folder = tmp_path / "students" / result.results["student"]["fingerprint"]
    loaded = tf.saved_model.load(folder / "saved_model")
    served = loaded.classify(images[:8])
    outputs = result.student(images[:8].astype(np.float32), training=False)
    np.testing.assert_allclose(served, keras.ops.softmax(outputs), atol=1e-5)
    # And from the file of a microcontroller, nearly.
    assert set(result.results["files"]) == {
        "teacher_float32",
        *(f"student_{kind}" for kind in ("float32", "float16", "int8")),
    }


def test_where_nobody_labels_that_is_said_before_a_teacher_is_trained(
    tmp_path,
):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    config.num_workers = 0
    run = Run(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="num_workers of at least 1, or KERA"):
        run_stages(run)
    assert run.workdir.find_stage("teacher") is None


def test_limits_are_given_in_one_place(tmp_path):
    config = tiny.config("")
    config.limits.max_flops = 1000
    with pytest.raises(
        ConfigError, match=r"got config.limits = .*1000.* beside LogParams"
    ):
        archcomp_tf.compress(
            build(Architecture.parse("conv3x3-8"), (4, 4, 1), 2),
            tiny.dataset(),
            objective=LogParams(0.1),
            num_labels=10,
            workdir=tmp_path,
            config=config,
        )


def test_limits_that_nothing_keeps_are_named_before_a_network_is_labelled(
    tmp_path,
):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    config.limits.max_flops = 1
    run = Run(config, tmp_path / "workdir")
    with pytest.raises(
        LimitError,
        match=r"No network of the space .* nearest is .*: max_flops is 1 and",
    ):
        run_stages(run)
    assert not (tmp_path / "workdir/corpus/records.jsonl").exists()


def test_another_config_is_refused_naming_the_field(finished):
    config, workdir, _ = finished
    other = config.copy_and_resolve_references()
    other.labels.num_labels = 11
    message = r"num_labels was 10 and is 11\..* config.corpus = '.*' takes its"
    with pytest.raises(OtherConfigError, match=message):
        Run(other, workdir)


def test_a_finished_run_is_found_with_another_number_of_workers(
    finished, tmp_path
):
    config, workdir, result = finished
    again = tmp_path / "workdir"
    shutil.copytree(workdir, again)
    other = config.copy_and_resolve_references()
    other.num_workers = 7
    assert run_stages(Run(other, again)).results == result.results


def test_a_run_with_other_images_is_refused(finished):
    config, workdir, _ = finished
    other = tiny.dataset()
    with pytest.raises(OtherConfigError, match="with another data set"):
        run_stages(Run(config, workdir, dataset=other))


def test_a_run_with_another_teacher_is_refused(tmp_path):
    network = Architecture.parse("conv3x3-4")
    one, other = (build(network, tiny.SHAPE, 2) for _ in range(2))
    config = tiny.config("")
    config.teacher.architecture = ""
    run_stage(
        Run(config, tmp_path, teacher=one, dataset=tiny.dataset()), "teacher"
    )
    Run(config, tmp_path, teacher=one, dataset=tiny.dataset())
    with pytest.raises(OtherConfigError, match="with another teacher"):
        Run(config, tmp_path, teacher=other, dataset=tiny.dataset())


def test_a_teacher_that_is_given_other_values_is_another(tmp_path):
    layers = keras.layers
    network = build(Architecture.parse("conv3x3-4"), tiny.SHAPE, 2)

    def teacher(change):
        images = keras.Input(tiny.SHAPE)
        # Counted up by Keras, as is the model.
        return keras.Model(images, network(layers.ReLU()(change(images))))

    config = tiny.config("")
    config.teacher.architecture = ""
    config.space.around = "conv3x3-4"
    given = teacher(lambda images: images / 255.0)
    run_stage(
        Run(config, tmp_path, teacher=given, dataset=tiny.dataset()), "teacher"
    )
    again = teacher(lambda images: images / 255.0)
    assert again.name != given.name
    Run(config, tmp_path, teacher=again, dataset=tiny.dataset())
    for change in (
        lambda images: images / 127.5,
        lambda images: 1 - images / 255.0,
        layers.Rescaling(1 / 255),
    ):
        with pytest.raises(OtherConfigError, match="with another teacher"):
            Run(
                *(config, tmp_path),
                teacher=teacher(change),
                dataset=tiny.dataset(),
            )


def test_a_run_goes_on_with_its_files_in_another_folder(tmp_path):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    path, workdir = tmp_path / "teacher.keras", tmp_path / "workdir"
    config.teacher.architecture, config.teacher.model = "", str(path)
    build(Architecture.parse("conv3x3-4"), tiny.SHAPE, 2).save(path)
    run_stage(Run(config, workdir), "teacher")
    folder = tmp_path / "moved"
    folder.mkdir()
    for name in ("data.npz", "teacher.keras"):
        shutil.move(tmp_path / name, folder / name)
    config.dataset = str(folder / "data.npz")
    config.teacher.model = str(folder / "teacher.keras")
    run_stage(Run(config, workdir), "teacher")  # done before
    with np.load(folder / "data.npz") as arrays:
        others = {name: array[::-1] for name, array in arrays.items()}
    np.savez(folder / "data.npz", **others)
    with pytest.raises(OtherConfigError, match="with another data set"):
        run_stage(Run(config, workdir), "corpus")


def test_a_run_whose_teacher_was_saved_anew_is_refused(tmp_path):
    path, workdir = tmp_path / "teacher.keras", tmp_path / "workdir"
    config = tiny.config("")
    config.teacher.architecture, config.teacher.model = "", str(path)
    network = Architecture.parse("conv3x3-4")
    build(network, tiny.SHAPE, 2).save(path)
    run_stage(Run(config, workdir, dataset=tiny.dataset()), "teacher")
    Run(config, workdir, dataset=tiny.dataset())
    build(network, tiny.SHAPE, 2).save(path)
    with pytest.raises(OtherConfigError, match="with another teacher"):
        Run(config, workdir, dataset=tiny.dataset())
    path.unlink()  # a run that was carried elsewhere without it goes on
    Run(config, workdir, dataset=tiny.dataset())


def test_a_reference_that_cannot_be_labelled_says_why(tmp_path, monkeypatch):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    config.limits.max_accuracy_drop = 0.1
    begun = Run(config, tmp_path / "workdir")
    run_stage(begun, "teacher")
    teacher = Architecture.parse(config.teacher.architecture)

    def run(task, architecture):
        del task
        if architecture.compact == teacher:
            raise MemoryError("too large")
        return 0.5

    monkeypatch.setattr(Task, "run", run)
    with contextlib.closing(begun):
        with pytest.raises(LabelError, match="own layers.*too large"):
            run_stage(begun, "corpus")


@dataclasses.dataclass(frozen=True)
class _Accuracy:
    """Somebody's own objective, which `search` takes."""

    def __call__(self, accuracy, num_params):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params):
        return accuracy


@pytest.mark.parametrize(
    "objective", [None, {"max_params": 5_000}, Limits, _Accuracy()]
)
def test_what_is_no_objective_is_refused_at_once(tmp_path, objective):
    with pytest.raises(TypeError, match="Expected an objective: LogParams"):
        archcomp_tf.compress(
            build(Architecture.parse("conv3x3-4"), tiny.SHAPE, 2),
            tiny.dataset(),
            objective=objective,
            num_labels=10,
            workdir=tmp_path,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labels": 8}, "num_labels .* more than the 8 samples .*; got 8"),
        ({"num_labels": "10"}, "num_labels, a whole number, .*got '10'"),
        ({"seed": -1}, "seed, a whole number, from 0 to .*; got -1"),
        ({"seed": 2**32 - 1}, "seed, a whole number, .*; got 4294967295"),
    ],
)
def test_a_number_that_makes_no_sense_is_named_at_once(
    tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        archcomp_tf.compress(
            build(Architecture.parse("conv3x3-4"), tiny.SHAPE, 2),
            tiny.dataset(),
            objective=LogParams(),
            workdir=tmp_path / "workdir",
            **{"num_labels": 10} | changes,
        )
    assert not (tmp_path / "workdir").exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("labels.num_labels", 8, "num_labels to be more than the 8 samples"),
        ("objective.name", "Smallest", "Unknown objective 'Smallest'"),
        ("labels.labels_a_round", 0, "config.labels: .*labels_a_round.* got 0"),
        ("labels.max_seconds", 0.0, "config.labels: .* max_seconds above 0"),
        ("labels.recipe.temperature", 0.0, "config.labels.recipe: .*tempera"),
        ("teacher.recipe.batch_size", 0, "config.teacher.recipe: .*batch_size"),
        ("autoencoder.channels", 2, "config.autoencoder: .*channels.* least 3"),
        ("autoencoder.mode", "x", "config.autoencoder: .*pretrained.*got 'x'"),
        ("search.learning_rate", -1.0, "config.search: .*learning_rate"),
        ("student.num_finalists", 0, "config.student: .*num_finalists.*got 0"),
        ("student.num_seeds", 0, "config.student: .*num_seeds.* got 0"),
        ("student.recipe.label_weight", 3.0, "config.student.recipe: .*from 0"),
        ("student.controls", ("foo",), "student.controls among .*; got 'foo'"),
    ],
)
def test_a_config_that_cannot_run_is_refused_at_once(
    tmp_path, field, value, message
):
    config = tiny.config("data.npz")
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        Run(config, tmp_path / "workdir")
    assert not (tmp_path / "workdir").exists()


def test_a_config_without_a_teacher_says_so(tmp_path):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    config.teacher.architecture = ""
    with pytest.raises(ConfigError, match="one of teacher.architecture and"):
        run_stage(Run(config, tmp_path / "workdir"), "teacher")


def test_a_teacher_that_cannot_be_read_is_refused_by_layer(tmp_path):
    inputs = keras.Input(tiny.SHAPE)
    x = keras.layers.Conv2DTranspose(4, 3, name="up")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    run = Run(tiny.config(""), tmp_path, teacher=model, dataset=tiny.dataset())
    with pytest.raises(UnsupportedModelError, match="'up' .*space.around"):
        run_stage(run, "teacher")


def test_a_teacher_that_cannot_be_read_is_compressed_around_another(tmp_path):
    inputs = keras.Input(tiny.SHAPE)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Concatenate()([x, keras.layers.Conv2D(4, 1)(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    config = tiny.config("")
    config.space.around = "conv3x3-8 max_pool2x2/2"
    config.student.num_seeds = config.student.num_tuning_trials = 1
    result = archcomp_tf.compress(
        *(model, tiny.dataset()),
        objective=LogParams(np.float32(0.05)),  # NumPy's numbers will do
        num_labels=np.int64(9),
        seed=np.int64(0),
        workdir=tmp_path,
        config=config,
    )
    # It takes what the teacher takes; whose work for an image is not known.
    assert [type(layer).__name__ for layer in result.student.layers][:2] == [
        *("InputLayer", "Rescaling"),
    ]
    assert result.results["teacher"]["num_params"] == model.count_params()
    assert result.results["teacher"]["num_flops"] is None
    text = (tmp_path / "report/RESULTS.md").read_text()
    line = "Searched around, not the teacher's own: `conv3x3-8 max_pool2x2/2`"
    assert line in text and "| searched around, scaled in width |" in text
    assert "searched around</th>" in result.report.read_text()


def test_a_trained_file_serves_as_the_teacher(tmp_path):
    config = tiny.config(tiny.write_npz(tmp_path / "data.npz"))
    architecture = archcomp_tf.Architecture.parse("conv3x3-4")
    model = build(architecture, tiny.SHAPE, tiny.NUM_CLASSES)
    model.save(tmp_path / "mine.keras")
    config.teacher.architecture = ""
    config.teacher.model = str(tmp_path / "mine.keras")
    run_stage(Run(config, tmp_path / "workdir"), "teacher")
    kept = keras.models.load_model(tmp_path / "workdir/teacher/model.keras")
    for before, after in zip(
        model.get_weights(), kept.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(before, after)
