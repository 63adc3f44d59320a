"""Tests of what the stages of a compression share."""

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf import cost, limits
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.limits import LimitError
from archcomp_tf.objective import LogParams, Tolerance
from archcomp_tf.pipeline import STAGES
from archcomp_tf.run import Run

NETWORK = Architecture.parse("conv3x3-8 conv3x3-8")


def _run(folder, teacher=None, **changes):
    return tiny.taught_run(folder, NETWORK, teacher, **changes)


def test_without_layers_in_front_images_are_learnt_from_as_they_are(tmp_path):
    run = _run(tmp_path)
    assert run.features.train.images is run.dataset.train.images
    assert run.space.input_shape == tiny.SHAPE


def test_networks_learn_from_what_comes_out_of_the_teachers_front(tmp_path):
    network = build(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    inputs = keras.Input(tiny.SHAPE)
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    run = _run(tmp_path, keras.Model(inputs, network(scaled)))
    for name in ("train", "validation", "test"):
        images = getattr(run.dataset, name).images
        np.testing.assert_allclose(
            getattr(run.features, name).images, 2 * images - 1, atol=1e-6
        )


def test_the_objective_is_the_configs_unless_there_are_limits(tmp_path):
    assert _run(tmp_path / "one").objective == LogParams(0.05)
    limited = _run(tmp_path / "other", **{"limits.max_accuracy_drop": 0.02})
    limited.workdir.finish_stage("corpus", {"reference_accuracy": 0.8})
    # Brief trainings are held against a brief training.
    assert limited.objective == Tolerance(0.02, 0.8)


def test_only_a_limit_keeps_a_network_out(tmp_path):
    assert _run(tmp_path / "one").keeps(NETWORK)
    limited = _run(tmp_path / "other", **{"limits.max_params": 10})
    assert not limited.keeps(NETWORK)


def test_what_would_have_to_be_measured_is_guessed_from_a_few(
    tmp_path, monkeypatch
):
    asked = []

    def measure(architecture, *images):
        asked.append(architecture)
        return 3 * cost.num_params(architecture, *images)

    monkeypatch.setitem(limits.MEASURED, "max_file_bytes", measure)
    size = cost.num_params(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    run = _run(tmp_path, **{"limits.max_file_bytes": size})
    assert run.excess(NETWORK) == pytest.approx(3, rel=0.01)
    num_asked = len(asked)
    assert 8 < num_asked < 40 and NETWORK not in asked
    run.excess(Architecture.parse("conv3x3-6 conv3x3-8"))
    assert len(asked) == num_asked
    # What was measured is known in another process.
    again = Run(run.config, tmp_path, STAGES, dataset=tiny.dataset())
    again.excess(NETWORK)
    assert len(asked) == num_asked
    assert not again.keeps(NETWORK) and len(asked) == num_asked + 1
    assert not again.keeps(NETWORK) and len(asked) == num_asked + 1


def test_limits_that_nothing_comes_near_are_named_with_the_nearest(tmp_path):
    run = _run(tmp_path, **{"limits.max_params": 1})
    with pytest.raises(
        LimitError, match=r"nearest is .*: max_params is 1 and it has \d+\."
    ):
        run.check_limits()
    free = _run(tmp_path / "free")
    assert free.excess(NETWORK) == 0
    free.check_limits()
    _run(tmp_path / "wide", **{"limits.max_params": 500}).check_limits()


def test_only_what_the_objective_does_not_know_is_in_excess(tmp_path):
    changes = {"limits.max_params": 10, "limits.max_ram_bytes": 32 * 5 * 5}
    run = _run(tmp_path, **changes)
    images = tiny.SHAPE, tiny.NUM_CLASSES
    ram = cost.activation_bytes(NETWORK, *images, bytes_per_value=1)
    assert run.excess(NETWORK) == ram / (32 * 5 * 5)


def test_the_nearest_breaks_its_limits_least(tmp_path):
    run = _run(tmp_path, **{"limits.max_params": 10})
    smaller = Architecture.parse("conv3x3-4 identity")
    nearest, broken = run.nearest([NETWORK, smaller])
    assert nearest == smaller
    assert broken == [
        f"max_params is 10 and it has {run.count_params(smaller)}"
    ]


def test_a_limit_that_is_none_is_refused_before_anything_is_written(tmp_path):
    config = tiny.config("")
    config.limits.max_params = -1
    with pytest.raises(ValueError, match="max_params > 0; got -1"):
        Run(config, tmp_path / "new", STAGES)
    assert not (tmp_path / "new").exists()
