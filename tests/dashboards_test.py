"""Tests of `archcomp_tf.dashboards`."""

import csv

import browser
import findings
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import metadata

from archcomp_tf import dashboards
from archcomp_tf.dashboards import Session
from archcomp_tf.ledger import SearchResult
from archcomp_tf.objective import LogParams

_TRIALS = [
    ({"learning_rate": 0.1, "temperature": 2.0}, 0.75),
    ({"learning_rate": 0.05, "temperature": 4.0}, 0.5),
]


def _events(folder):
    # Of each tensor all steps, where the default is a sample of ten.
    everything = {event_accumulator.TENSORS: 0}
    return event_accumulator.EventAccumulator(str(folder), everything).Reload()


def _scalars(folder):
    """Name -> values, in the order of their steps, which count from 0."""
    events = _events(folder)
    scalars = {}
    for name in events.Tags()["tensors"]:
        if events.SummaryMetadata(name).plugin_data.plugin_name == "scalars":
            read = events.Tensors(name)
            assert [event.step for event in read] == list(range(len(read)))
            scalars[name] = [
                tf.make_ndarray(event.tensor_proto).item() for event in read
            ]
    return scalars


def _hparams(folder, tag):
    content = _events(folder).SummaryMetadata(tag).plugin_data.content
    if tag == metadata.EXPERIMENT_TAG:
        return metadata.parse_experiment_plugin_data(content)
    return metadata.parse_session_start_info_plugin_data(content)


def _rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def test_scalars_are_read_back_with_their_names_steps_and_values(tmp_path):
    scalars = {
        "teacher/loss": [2.5, 0.5, -0.125],
        "accuracy": (0.25,),
        "of numpy": np.array([1.5, 3.0], "float32"),
        "nothing": [],
    }
    folder = tmp_path / "tensorboard" / "teacher"
    dashboards.write_scalars(folder, scalars)
    assert _scalars(folder) == {
        name: list(values) for name, values in scalars.items() if len(values)
    }


def test_a_search_is_its_labels_and_a_descent_for_each_round(tmp_path):
    traces = np.array([0.5, 0.75]), np.array([0.25, 0.5, 0.625])
    result = SearchResult(findings.records(), LogParams(0.05), None, {}, traces)
    dashboards.write_search(tmp_path, result)
    labels = _scalars(tmp_path / "labels")
    assert set(labels) == {
        *("label/accuracy", "label/log10_params", "label/objective")
    }
    # In the order of labelling, without the one that failed.
    expected = [record.accuracy for record in findings.labelled()]
    assert labels["label/accuracy"] == pytest.approx(expected)
    assert labels["label/objective"] == pytest.approx(
        [
            accuracy - 0.05 * size
            for accuracy, size in zip(
                labels["label/accuracy"],
                labels["label/log10_params"],
                strict=True,
            )
        ]
    )
    assert _scalars(tmp_path / "descents") == {
        f"descent_objective/round_0{index}": list(trace)
        for index, trace in enumerate(traces)
    }


def test_a_label_is_a_row_with_its_layers_and_what_came_out():
    record = findings.student()
    (session,) = dashboards.label_sessions([record])
    assert session.hparams == {
        "experiment": "label",
        "architecture": str(record.architecture.compact),
        "layers": 4,
        # The second slot is removed, the third a pool, which has no width.
        "slot_00_width": 8,
        "slot_01_width": 0,
        "slot_03_width": 16,
        "slot_04_width": 32,
    }
    assert session.metrics["accuracy"] == record.accuracy
    assert 10 ** session.metrics["log10_params"] == pytest.approx(
        record.num_params
    )


def test_a_trial_is_a_row_with_what_was_tuned():
    first, second = dashboards.trial_sessions(_TRIALS)
    assert first.name != second.name
    assert second.hparams == {
        "experiment": "tuning",
        "tuned_learning_rate": 0.05,
        "tuned_temperature": 4.0,
    }
    assert second.metrics == {"accuracy": 0.5}


def test_every_row_of_hparams_is_a_run_and_the_table_knows_all_columns(
    tmp_path,
):
    sessions = [
        *dashboards.label_sessions(findings.labelled()[:3]),
        *dashboards.trial_sessions(_TRIALS),
    ]
    dashboards.write_hparams(tmp_path / "hparams", sessions)
    for session in sessions:
        folder = tmp_path / "hparams" / session.name
        info = _hparams(folder, metadata.SESSION_START_INFO_TAG)
        assert info.group_name == session.name
        read = {
            name: getattr(value, value.WhichOneof("kind"))
            for name, value in info.hparams.items()
        }
        assert read == session.hparams
        scalars = _scalars(folder)
        assert set(scalars) == {f"hparams/{name}" for name in session.metrics}
        for name, value in session.metrics.items():
            assert scalars[f"hparams/{name}"] == pytest.approx([value])
    table = _hparams(tmp_path / "hparams", metadata.EXPERIMENT_TAG)
    infos = {info.name: info for info in table.hparam_infos}
    assert set(infos) == {name for s in sessions for name in s.hparams}
    rates = infos["tuned_learning_rate"].domain_interval
    assert (rates.min_value, rates.max_value) == (0.05, 0.1)
    experiments = infos["experiment"].domain_discrete
    assert list(experiments) == ["label", "tuning"]
    assert infos["architecture"].WhichOneof("domain") is None
    assert [m.name.tag for m in table.metric_infos] == [
        *("hparams/accuracy", "hparams/log10_params")
    ]


def test_rows_that_were_there_before_are_gone(tmp_path):
    for name in ("before", "after"):
        session = Session(name, {"layers": 3}, {"accuracy": 0.5})
        dashboards.write_hparams(tmp_path / "hparams", [session])
    folders = [p.name for p in (tmp_path / "hparams").iterdir() if p.is_dir()]
    assert folders == ["after"]


def test_the_projector_finds_points_and_what_they_are(tmp_path):
    labelled, latent = findings.labelled(), findings.latent(num_steps=10)
    folder = tmp_path / "embedding"
    dashboards.write_embedding(folder, labelled, latent)
    config = projector.ProjectorConfig()
    text = (folder / "projector_config.pbtxt").read_text()
    (embedding,) = text_format.Parse(text, config).embeddings
    points = np.array(_rows(folder / embedding.tensor_path), float)
    header, *rows = _rows(folder / embedding.metadata_path)
    assert header == [
        *("architecture", "point", "step", "accuracy", "log10_params")
    ]
    # Three descents of ten steps: every fourth is shown, and the last.
    assert len(points) == len(rows) == len(labelled) + 3 * 4
    np.testing.assert_allclose(points[: len(labelled)], latent.z, rtol=1e-5)
    np.testing.assert_allclose(points[-1], latent.paths[9, 2], rtol=1e-5)
    assert rows[-1] == ["conv3x3-7", "descent from a label", "9", "0.75", "3"]
    assert rows[-3][1] == "descent from the teacher"
    record = labelled[2]
    assert rows[2] == [
        *(str(record.architecture.compact), "label", "0"),
        *(f"{record.accuracy:.6g}", f"{np.log10(record.num_params):.6g}"),
    ]


def test_the_descent_from_the_teacher_is_traced(tmp_path):
    latent = findings.latent()
    dashboards.write_embedding(tmp_path, findings.labelled(), latent)
    assert _scalars(tmp_path) == {
        "descent/accuracy": [0.75] * 9,
        "descent/log10_params": list(np.linspace(5, 3, 9)),
    }


@browser.needs_chromium
def test_a_browser_shows_scalars_hparams_and_the_projector(tmp_path):
    labelled = findings.labelled()
    dashboards.write_scalars(
        tmp_path / "tensorboard" / "teacher", {"epoch_loss": [2.0, 1.0, 0.5]}
    )
    dashboards.write_embedding(
        tmp_path / "tensorboard" / "embedding", labelled, findings.latent()
    )
    dashboards.write_hparams(
        tmp_path / "hparams",
        dashboards.label_sessions(labelled)
        + dashboards.trial_sessions(_TRIALS),
    )
    with browser.chromium() as tab:
        browser.assert_tensorboard_is_seen(tab, tmp_path)
