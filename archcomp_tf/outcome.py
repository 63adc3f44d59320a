"""What a compression leaves: the student's files, test accuracies, a report.

The one place where the test split is looked at, once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from archcomp_tf.backend import check_tensorflow
from archcomp_tf.dashboards import (
    label_sessions,
    trial_sessions,
    write_embedding,
    write_hparams,
)
from archcomp_tf.embedding import leave_embedding
from archcomp_tf.export import export_saved_model
from archcomp_tf.finals import folder_of
from archcomp_tf.html_report import html_report
from archcomp_tf.inference import correct
from archcomp_tf.latent import LatentMap
from archcomp_tf.litert import PRECISIONS, ConversionError, export_litert
from archcomp_tf.markdown_report import results_text
from archcomp_tf.measurement import measure
from archcomp_tf.results import assemble_results, doubts, trained
from archcomp_tf.run import TEACHER_MODEL, Run
from archcomp_tf.workdir import STAGES

_LOGGER = logging.getLogger(__name__)

# In the working directory: the numbers, and the page to look at.
RESULTS, PAGE = "report/results.json", "report/report.html"

# LiteRT takes an image a call: of a large teacher more would take an hour.
_NUM_FILE_IMAGES = 2000

# Limits on what is measured of a file.
_LIMITED = {"max_ram_bytes": "ram_bytes", "max_file_bytes": "bytes"}


def write_outcome(run: Run) -> dict[str, Any]:
    """Judges teacher, student and controls and writes the report.

    Args:
      run: the compression; all but the report is done.

    Returns:
      What the record says: nothing that is not in the report.

    Raises:
      BackendError: there is no TensorFlow.
    """
    check_tensorflow("The report, with the files that it measures,")
    stages = {name: run.stage(name) for name in STAGES if name != "report"}
    student = stages["students"]
    _export_saved_model(run, folder_of(student))
    leave_embedding(run)
    results = assemble_results(
        run.config.to_dict(),
        run.dataset.name,
        stages,
        _correct(run, stages),
        run.dataset.test.labels,
        _files(run, student),
    )
    run.workdir.write_json(RESULTS, results)
    with run.workdir.replacing("report/RESULTS.md") as path:
        path.write_text(results_text(results))
    _write_pages(run, stages, results)
    for doubt in doubts(results):
        _LOGGER.warning("%s", doubt)
    _warn_of_front(run, results["files"])
    _LOGGER.info("report: %s", run.path(PAGE))
    return {}


def _warn_of_front(run: Run, files: Mapping[str, Mapping[str, float]]) -> None:
    """Says where the int8 file breaks a limit that its network keeps.

    Layers in front, which the teacher has, are in the file and in no network.
    """
    given = run.limits.given if run.limits else {}
    file = files.get("student_int8", {})
    for name, field in _LIMITED.items():
        if file.get(field, 0) > given.get(name, math.inf):
            _LOGGER.warning(
                "%s is %s; with the layers in front of the teacher the int8 "
                "file has %s",
                name,
                f"{given[name]:,}",
                f"{file[field]:,}",
            )


def _correct(
    run: Run, stages: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[np.ndarray]]:
    """Which test images each training of each network puts right."""
    own = correct(
        run.model(TEACHER_MODEL), run.dataset.test, run.preprocessing.scaled
    )
    found = {"teacher": [own]}
    for name, network in trained(stages).items():
        found[name] = [
            correct(run.model(path), run.features.test)
            for path in network["trainings"]
        ]
    return found


def _export_saved_model(run: Run, folder: str) -> None:
    model = run.model(f"{folder}/model.keras")
    with run.workdir.replacing(f"{folder}/saved_model") as path:
        export_saved_model(model, path, run.preprocessing.max_pixel)


def _files(run: Run, student: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """LiteRT files of teacher and student: size, accuracy, latency.

    There are none of what LiteRT cannot hold: of some teachers, and of both
    where it is the preprocessing.
    """
    images, shape = run.dataset.train.images, run.dataset.input_shape
    folder, front = folder_of(student), run.preprocessing
    if front.is_unit:  # of images in [0, 1] it makes the same: without it
        network = run.model(student["trainings"][student["best"]])
    else:
        network = front.on_unit_images(
            run.model(f"{folder}/model.keras"), shape
        )
    wanted = {
        "teacher": (
            front.on_unit_images(run.model(TEACHER_MODEL), shape),
            "teacher",
            ("float32",),
        ),
        "student": (network, folder, PRECISIONS),
    }
    paths = {}
    for name, (model, folder, precisions) in wanted.items():
        try:
            files = export_litert(
                model,
                run.path(f"{folder}/litert"),
                images,
                precisions,
            )
        except ConversionError as error:
            _LOGGER.warning("no LiteRT files of the %s: %s", name, error)
            continue
        paths |= {f"{name}_{kind}": path for kind, path in files.items()}
    # From all of the split, which may be sorted by class.
    test = run.dataset.test
    num = min(len(test), _NUM_FILE_IMAGES)
    return measure(paths, test[np.linspace(0, len(test) - 1, num).astype(int)])


def _write_pages(
    run: Run,
    stages: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Any],
) -> None:
    """report.html, and what TensorBoard shows besides scalars."""
    found = run.found()
    latent = LatentMap.load(run.path("search/latent.npz"))
    page = html_report(
        results,
        found.history,
        input_shape=run.features.input_shape,
        num_classes=run.features.num_classes,
        predictions=stages["search"]["predictions"],
        latent=latent,
    )
    with run.workdir.replacing(PAGE) as path:
        path.write_text(page, encoding="utf-8")
    write_embedding(run.path("tensorboard/embedding"), found.labelled, latent)
    write_hparams(
        run.path("hparams"),
        label_sessions(found.ranked)
        + trial_sessions(stages["students"]["trials"]),
    )
