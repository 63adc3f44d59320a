"""Tests of `archcomp_tf.progress`."""

import logging
import sys
import types

import pytest

from archcomp_tf import progress
from archcomp_tf.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until `clock.now` is moved."""
    clock = types.SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def advance(clock, caplog):
    """Steps of some seconds each; gives the lines logged meanwhile."""
    caplog.set_level(logging.INFO, logger="archcomp_tf")

    def advance(reported, num, seconds, **options):
        before = len(caplog.messages)
        for _ in range(num):
            clock.now += seconds
            reported.advance(**options)
        return caplog.messages[before:]

    return advance


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.4, "0 s"), (40, "40 s"), (89, "89 s")),
        *((100, "2 min"), (700, "12 min"), (5000, "83 min")),
        *((9000, "2.5 h"), (90_000, "25.0 h")),
    ],
)
def test_durations_are_rounded_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_a_line_says_stage_steps_last_result_and_time_to_go(advance):
    labels = Progress("labelling", 8)
    last = advance(labels, 3, 10, result="91.2%")[-1]
    # 30 s for 3 steps, so 50 s for the 5 that are left.
    assert last == "labelling 3/8: 91.2%, 50 s to go"


def test_a_line_without_a_result_says_the_time_alone(advance):
    assert advance(Progress("labelling", 2), 1, 10) == [
        "labelling 1/2: 10 s to go"
    ]


def test_a_step_may_be_done_in_part(clock, caplog):
    caplog.set_level(logging.INFO, logger="archcomp_tf")
    trainings = Progress("training", 3)
    for done in (0.5, 1.25, 2.0):
        clock.now += 30
        trainings.reach(done)
    assert caplog.messages == [
        "training 0.5/3: 2 min to go",
        "training 1.2/3: 84 s to go",
        "training 2/3: 45 s to go",
    ]


def test_the_last_line_says_how_long_it_took(advance):
    last = advance(Progress("labelling", 4), 4, 10, result="91.2%")[-1]
    assert last == "labelling 4/4: 91.2%, took 40 s"


def test_the_time_to_go_supposes_that_steps_stay_as_long_as_so_far(advance):
    labels = Progress("labelling", 10)
    advance(labels, 1, 15)
    # 20 s for 2 steps: the third to tenth take 10 s each.
    assert advance(labels, 1, 5) == ["labelling 2/10: 80 s to go"]


def test_slow_steps_give_a_line_each(advance):
    assert len(advance(Progress("labelling", 20), 20, 3)) == 20


@pytest.mark.parametrize("min_seconds", [0.5, 2.0, 5.0])
def test_fast_steps_give_a_line_every_few_seconds(advance, min_seconds):
    epochs = Progress("training", 1024, min_seconds)
    # 1/64 s a step, 16 s in all; binary fractions add up exactly.
    lines = advance(epochs, 1024, 1 / 64)
    # The first step, each time that min_seconds passed, and the last step.
    assert len(lines) == 1 + int(1023 / 64 / min_seconds) + 1
    assert lines[0].startswith("training 1/1024: ")
    assert lines[-1].startswith("training 1024/1024: ")


def test_the_last_step_gives_a_line_right_behind_another(advance):
    labels = Progress("labelling", 3)
    assert len(advance(labels, 1, 0)) == 1
    assert len(advance(labels, 1, 0)) == 0
    assert advance(labels, 1, 0) == ["labelling 3/3: took 0 s"]


def _logger(monkeypatch):
    """The package's, as it is where a program says nothing of logging.

    No fixture: pytest hands its own handlers out after these.
    """
    logger = logging.getLogger("archcomp_tf")
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.setattr(logger, "propagate", False)
    return logger


def test_progress_is_shown_where_nobody_said_what_is_logged(
    monkeypatch, capsys
):
    logger = _logger(monkeypatch)
    with progress.shown():
        logger.info("label 1/2")
    logger.info("label 2/2")
    assert capsys.readouterr().err[8:] == " label 1/2\n"  # behind the time
    assert not logger.handlers and logger.level == logging.NOTSET


def test_each_line_is_shown_once_whatever_others_do_to_the_root(
    monkeypatch, capsys
):
    logger, root = _logger(monkeypatch), logging.getLogger()
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(root, "handlers", [])
    with progress.shown():
        root.addHandler(logging.StreamHandler(sys.stderr))
        logger.info("label 1/2")
    assert capsys.readouterr().err.count("label 1/2") == 1
    assert logger.propagate


def test_a_programs_own_handlers_show_progress(monkeypatch, capsys):
    logger = _logger(monkeypatch)
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(handler)
    try:
        with progress.shown():
            logger.info("label 1/2")
    finally:
        logger.removeHandler(handler)
    assert seen == ["label 1/2"] and not capsys.readouterr().err


def test_who_wants_no_progress_sees_none(monkeypatch, capsys):
    logger = _logger(monkeypatch)
    logger.setLevel(logging.WARNING)
    with progress.shown():
        logger.info("label 1/2")
    assert not capsys.readouterr().err
