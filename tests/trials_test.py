"""Tests of the oracle that hands architectures out."""

import math

import keras_tuner
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.trials import ArchitectureOracle

ARCHITECTURES = [Architecture.parse(f"conv3x3-{n}") for n in (2, 3)]
_STATUS = keras_tuner.engine.trial.TrialStatus


@pytest.fixture
def ended():
    """What the oracle said of trials that ended."""
    return []


@pytest.fixture
def oracle(ended):
    oracle = ArchitectureOracle(lambda *values: ended.append(values), True)
    oracle.submit(ARCHITECTURES)
    return oracle


def _complete(oracle, trial, accuracy):
    oracle.update_trial(trial.trial_id, {"accuracy": accuracy, "seconds": 2.0})
    trial = oracle.get_trial(trial.trial_id)
    trial.status = _STATUS.COMPLETED
    oracle.end_trial(trial)


def test_each_architecture_is_handed_out_once_then_tuners_wait(oracle, ended):
    trials = [oracle.create_trial(f"tuner{i}") for i in range(3)]
    assert [t.status for t in trials] == [
        _STATUS.RUNNING,
        _STATUS.RUNNING,
        _STATUS.IDLE,
    ]
    _complete(oracle, trials[1], 0.75)
    assert ended == [(ARCHITECTURES[1], 0.75, 2.0, "")]


@pytest.mark.parametrize("status", [_STATUS.FAILED, _STATUS.INVALID])
def test_a_trial_that_ends_without_a_reason_has_failed_all_the_same(
    oracle, ended, status
):
    trial = oracle.create_trial("tuner0")
    trial.status = status
    oracle.end_trial(trial)
    ((*_, accuracy, seconds, reason),) = ended
    assert math.isnan(accuracy) and seconds == 0
    assert reason == "KerasTuner ended its trial as FAILED"


def test_without_waiting_tuners_are_told_to_stop(oracle):
    oracle.waits = False
    for index in range(2):
        oracle.create_trial(f"tuner{index}")
    assert oracle.create_trial("tuner2").status == _STATUS.STOPPED


def test_a_trial_that_ended_leaves_nothing_behind(oracle):
    trial = oracle.create_trial("tuner0")
    assert oracle.knows(trial.trial_id)
    _complete(oracle, trial, 0.5)
    assert not oracle.knows(trial.trial_id)
    assert not oracle.start_order and not oracle.end_order


def test_trials_of_two_oracles_have_different_names(oracle):
    other = ArchitectureOracle(lambda *_: None, True)
    other.submit(ARCHITECTURES)
    names = {o.create_trial("tuner0").trial_id for o in (oracle, other)}
    assert len(names) == 2


def test_a_lost_trial_is_handed_to_another_but_not_for_ever(oracle, ended):
    first = oracle.create_trial("tuner0")
    oracle.lose("tuner0", "its worker was killed")
    again = oracle.create_trial("tuner1")
    assert again.trial_id != first.trial_id
    assert again.hyperparameters.values == first.hyperparameters.values
    assert not ended
    oracle.lose("tuner1", "its worker was killed")
    ((architecture, accuracy, _, reason),) = ended
    assert architecture == ARCHITECTURES[0] and math.isnan(accuracy)
    assert reason == "its worker was killed, 2 times"


def test_who_trains_for_too_long_is_overdue(oracle, ended):
    oracle.create_trial("tuner0")
    assert oracle.overdue(60) == []
    assert oracle.overdue(-1) == ["tuner0"]
    oracle.fail("tuner0", "no result")
    assert ended[0][-1] == "no result"
    assert oracle.overdue(-1) == []
