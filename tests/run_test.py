"""Tests of what the stages of a compression share."""

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.config import ConfigError, objective_config
from archcomp_tf.corpus import Record, write_records
from archcomp_tf.cost import num_params
from archcomp_tf.objective import LogParams, Tolerance
from archcomp_tf.run import Run
from archcomp_tf.training import Recipe
from archcomp_tf.workdir import OtherConfigError

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
    assert limited.objective.reference_accuracy == pytest.approx(0.8)
    assert limited.final_objective == Tolerance(0.02, tiny.VALIDATION)


@pytest.mark.parametrize("given", [None, 0.85])
def test_a_tolerance_is_counted_from_a_brief_training_while_labels_are(
    tmp_path, given
):
    fields = {} if given is None else {"reference_accuracy": given}
    run = _run(tmp_path)
    with run.config.unlocked():
        run.config.objective = objective_config(
            "Tolerance", max_drop=0.02, **fields
        )
    run.workdir.finish_stage("corpus", {"reference_accuracy": 0.7})
    reference = given or tiny.VALIDATION
    assert run.final_objective == Tolerance(0.02, reference)
    lag = tiny.VALIDATION - 0.7
    assert run.objective.reference_accuracy == pytest.approx(reference - lag)


def test_a_budget_is_known_before_a_network_is_trained(tmp_path):
    run = _run(tmp_path / "one", **{"limits.max_params": 100})
    small, large = map(Architecture.parse, ("conv3x3-1", "conv3x3-64"))
    assert run.within_budget(small) and not run.within_budget(large)
    assert _run(tmp_path / "other").within_budget(large)


def test_labels_of_another_recipe_are_taken_and_said_to_be_such(
    tmp_path, caplog
):
    path = tmp_path / "known.jsonl"
    recipe = Recipe(**tiny.config("").labels.recipe)
    networks = {
        recipe.name: NETWORK,
        "another": Architecture.parse("conv3x3-8 identity"),
        "a third": Architecture.parse("conv1x1-8 conv3x3-8"),
    }
    records = [
        Record(
            network,
            0.5,
            num_params(network, tiny.SHAPE, tiny.NUM_CLASSES),
            recipe=name,
        )
        for name, network in networks.items()
    ]
    write_records(path, records[:1])
    assert _run(tmp_path / "one", corpus=str(path)).known == records[:1]
    assert "another recipe" not in caplog.text
    write_records(path, records)
    assert _run(tmp_path / "two", corpus=str(path)).known == records
    assert "2 of these were trained by another recipe" in caplog.text


def test_of_several_labels_of_a_network_one_is_known(tmp_path):
    path = tmp_path / "known.jsonl"
    size = num_params(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    own = Recipe(**tiny.config("").labels.recipe).name
    records = [
        Record(NETWORK, accuracy, size, recipe=recipe)
        for accuracy, recipe in ((0.4, "another"), (0.5, own), (0.6, "a third"))
    ]
    write_records(path, records)
    run = _run(tmp_path / "run", corpus=str(path))
    assert run.known == records[1:2]


def test_labels_of_another_run_are_copied_once_and_for_all(tmp_path):
    path = tmp_path / "known.jsonl"
    size = num_params(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    records = [Record(NETWORK, 0.5, size, recipe="its own")]
    write_records(path, records)
    run = _run(tmp_path / "run", corpus=str(path))
    run.keep_known()
    # The other run goes on, or is moved away; this one is what it was.
    other = Architecture.parse("conv3x3-8 identity")
    size = num_params(other, tiny.SHAPE, tiny.NUM_CLASSES)
    write_records(path, [*records, Record(other, 0.5, size)])
    assert _run(tmp_path / "run", corpus=str(path)).known == records
    path.unlink()
    run = _run(tmp_path / "run", corpus=str(tmp_path / "gone/known.jsonl"))
    assert run.known == records
    with pytest.raises(OtherConfigError, match="corpus was 'known.jsonl'"):
        _run(tmp_path / "run", corpus=str(tmp_path / "others.jsonl"))
    with pytest.raises(ConfigError, match="There is no file .*known.jsonl"):
        _run(tmp_path / "none", corpus=str(path))
    assert not (tmp_path / "none").exists()


def test_a_limit_that_is_none_is_refused_before_anything_is_written(tmp_path):
    config = tiny.config("")
    config.limits.max_params = -1
    with pytest.raises(ValueError, match="max_params > 0; got -1"):
        Run(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()
