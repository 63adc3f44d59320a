"""Tests of what limits allow of the networks of a run."""

import pytest
import tiny

from archcomp_tf import allowance, cost, limits
from archcomp_tf.architecture import Architecture
from archcomp_tf.limits import LimitError
from archcomp_tf.run import Run

NETWORK = Architecture.parse("conv3x3-8 conv3x3-8")


def _run(folder, **changes):
    return tiny.taught_run(folder, NETWORK, **changes)


def test_only_a_limit_keeps_a_network_out(tmp_path):
    assert _run(tmp_path / "one").allowance.keeps(NETWORK)
    limited = _run(tmp_path / "other", **{"limits.max_params": 10})
    assert not limited.allowance.keeps(NETWORK)


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
    assert run.allowance.excess(NETWORK) == pytest.approx(3, rel=0.01)
    num_asked = len(asked)
    assert 8 < num_asked < 40 and NETWORK not in asked
    run.allowance.excess(Architecture.parse("conv3x3-6 conv3x3-8"))
    assert len(asked) == num_asked
    # What was measured is known in another process.
    again = Run(run.config, tmp_path, dataset=tiny.dataset())
    again.allowance.excess(NETWORK)
    assert len(asked) == num_asked
    assert not again.allowance.keeps(NETWORK) and len(asked) == num_asked + 1
    assert not again.allowance.keeps(NETWORK) and len(asked) == num_asked + 1


def test_limits_that_nothing_comes_near_are_named_with_the_nearest(tmp_path):
    run = _run(tmp_path, **{"limits.max_params": 1})
    with pytest.raises(
        LimitError, match=r"nearest is .*: max_params is 1 and it has \d+\."
    ):
        run.allowance.check()
    free = _run(tmp_path / "free")
    assert free.allowance.excess(NETWORK) == 0
    free.allowance.check()
    _run(tmp_path / "wide", **{"limits.max_params": 500}).allowance.check()


def test_a_guess_that_is_too_high_refuses_nothing(tmp_path, monkeypatch):
    def surrogate(*_):
        return lambda *_: 2.0

    monkeypatch.setattr(allowance, "Surrogate", surrogate)
    monkeypatch.setitem(limits.MEASURED, "max_latency_ms", lambda *_: 1.0)
    run = _run(tmp_path, **{"limits.max_latency_ms": 1.5})
    run.allowance.check()
    monkeypatch.setitem(limits.MEASURED, "max_latency_ms", lambda *_: 1.6)
    run = _run(tmp_path / "slow", **{"limits.max_latency_ms": 1.5})
    with pytest.raises(LimitError, match="is 1.5 and it has 1.6"):
        run.allowance.check()


def test_broken_limits_are_named_with_what_was_allowed_and_what_it_is(tmp_path):
    size = cost.num_params(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    changes = {"max_params": size - 1, "max_flops": 10**9}
    changes |= {"max_accuracy_drop": 0.01}
    run = _run(tmp_path, **{f"limits.{k}": v for k, v in changes.items()})
    assert run.allowance.broken(NETWORK, accuracy_drop=0.025) == [
        f"max_params is {size - 1:,} and it has {size:,}",
        "max_accuracy_drop is 0.01 and it has 0.025",
    ]
    assert len(run.allowance.broken(NETWORK, accuracy_drop=0.01)) == 1


def test_what_breaks_a_limit_by_little_is_told_to_the_last_digit(tmp_path):
    large = Architecture.parse("conv3x3-800 conv3x3-800")
    size = cost.num_params(large, tiny.SHAPE, tiny.NUM_CLASSES)
    assert size > 10**6
    run = _run(tmp_path, **{"limits.max_params": size - 1})
    (broken,) = run.allowance.broken(large)
    assert broken == f"max_params is {size - 1:,} and it has {size:,}"


def test_only_what_the_objective_does_not_know_is_in_excess(tmp_path):
    changes = {"limits.max_params": 10, "limits.max_ram_bytes": 32 * 5 * 5}
    run = _run(tmp_path, **changes)
    images = tiny.SHAPE, tiny.NUM_CLASSES
    ram = cost.peak_activations(NETWORK, *images)
    assert run.allowance.excess(NETWORK) == ram / (32 * 5 * 5)


def test_the_nearest_breaks_its_limits_least(tmp_path):
    run = _run(tmp_path, **{"limits.max_params": 10})
    smaller = Architecture.parse("conv3x3-4 identity")
    with pytest.raises(LimitError) as caught:
        run.allowance.check_any([NETWORK, smaller])
    assert str(caught.value) == (
        "None of 2 labelled networks keeps to the limits. The nearest is "
        "conv3x3-4: max_params is 10 and it has "
        f"{run.space.count_params(smaller)}."
    )
    free = _run(tmp_path / "free")
    free.allowance.check_any([NETWORK, smaller])
