"""Tests of docs/tutorial.md: its programs run and give what they say."""

import json
import pathlib

import fresh
import numpy as np
import pages
import pytest

from archcomp_tf import datasets

_PROGRAMS = pages.programs("tutorial.md")
# What makes them short enough for a test.
_SHORTER = {
    "model.py": {"epochs=8": "epochs=2"},
    "compress.py": {
        "archcomp_tf.default_config()": "tiny.config('')",
        "import keras\n": "import keras\nimport tiny\n",
        "recipe.epochs = 12": "recipe.epochs = 1",
        "num_finalists = 2": "num_finalists = 1",
        "num_labels=24": "num_labels=10",
        "max_params=50_000": "max_params=5_000",
    },
    "use.py": {
        "import sys\n": "import sys\nsys.modules['archcomp_tf'] = None\n",
    },
    "micro.py": {},
}


def _run(folder: pathlib.Path, name: str, *arguments: str) -> str:
    source = pages.changed(_PROGRAMS[name], _SHORTER[name])
    (folder / name).write_text(source)
    return fresh.output(folder / name, *arguments, cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Where the programs were run, on the digits in place of data.py's."""
    folder = tmp_path_factory.mktemp("tutorial")
    digits = datasets.load("digits")
    images = {"train": digits.train, "test": digits.test}
    arrays = {
        f"{axis}_{name}": values
        for name, split in images.items()
        for axis, values in (
            ("x", split.images),
            ("y", split.labels),
        )
    }
    np.savez(folder / "data.npz", **arrays)
    _run(folder, "model.py")
    (folder / "output.txt").write_text(_run(folder, "compress.py"))
    return folder


def test_the_programs_are_the_five_that_the_page_names():
    assert list(_PROGRAMS) == [
        *("data.py", "model.py", "compress.py", "use.py", "micro.py")
    ]


def test_what_is_compressed_is_smaller_and_within_the_limit(folder):
    path = folder / "runs/tutorial/report/results.json"
    results = json.loads(path.read_text())
    assert results["student"]["num_params"] <= 5_000
    assert results["student"]["compression_ratio"] > 2
    assert (folder / "small.keras").exists()


def test_without_the_package_the_files_are_as_accurate_as_stated(folder):
    results = json.loads(
        (folder / "runs/tutorial/report/results.json").read_text()
    )
    files = (folder / "output.txt").read_text().split()[-1]
    said = dict(
        line.split(": ") for line in _run(folder, "use.py", files).splitlines()
    )
    assert float(said.pop("saved_model")) == pytest.approx(
        results["student"]["test_accuracy"], abs=1e-4
    )
    assert set(said) == {"float32", "float16", "int8"}
    for kind, accuracy in said.items():
        assert float(accuracy) == pytest.approx(
            results["files"][f"student_{kind}"]["accuracy"], abs=1e-4
        )


def test_a_microcontroller_classifies_as_well_as_the_report_says(folder):
    pytest.importorskip("tflite_micro")
    results = json.loads(
        (folder / "runs/tutorial/report/results.json").read_text()
    )
    files = (folder / "output.txt").read_text().split()[-1]
    said = _run(folder, "micro.py", f"{files}/litert/int8.tflite")
    accuracy = float(said.splitlines()[0].removeprefix("int8: "))
    # Rounding that differs may turn an image or two.
    assert accuracy == pytest.approx(
        results["files"]["student_int8"]["accuracy"], abs=0.02
    )
