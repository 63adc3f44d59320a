"""Tests of `archcomp_tf.workdir`."""

import copy
import json
import os
import pathlib
import re
import signal

import fresh
import pytest

from archcomp_tf.workdir import (
    MissingStageError,
    OtherConfigError,
    WorkingDirectory,
)

CONFIG = {
    "seed": 0,
    "dataset": "digits",
    "labels": {"num_labels": 40, "recipe": {"epochs": 10}},
}


def _changed(name: str, value) -> dict:
    """CONFIG with the field of a dotted name set."""
    config = copy.deepcopy(CONFIG)
    *folders, field = name.split(".")
    fields = config
    for folder in folders:
        fields = fields[folder]
    fields[field] = value
    return config


def _files(folder: pathlib.Path) -> dict[str, str]:
    """Path under the folder -> content, of every file."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def workdir(tmp_path) -> WorkingDirectory:
    return WorkingDirectory(tmp_path / "runs" / "digits", CONFIG)


def test_the_directory_is_made_and_says_what_is_run_in_it(workdir):
    text = (workdir.path / "config.json").read_text()
    assert json.loads(text) == CONFIG


def test_the_same_config_finds_what_was_left(workdir):
    workdir.finish_stage("teacher", {"num_params": 335_594})
    before = _files(workdir.path)
    again = WorkingDirectory(os.fspath(workdir.path), copy.deepcopy(CONFIG))
    assert again.find_stage("teacher") == {"num_params": 335_594}
    assert _files(workdir.path) == before


@pytest.mark.parametrize(
    ("name", "value", "was"),
    [
        ("seed", 1, "0"),
        ("dataset", "cifar10", "'digits'"),
        ("labels.num_labels", 48, "40"),
        ("labels.recipe.epochs", 15, "10"),
        ("labels.recipe.batch_size", 64, "None"),
    ],
)
def test_another_config_is_refused_with_the_field_that_differs(
    workdir, name, value, was
):
    workdir.finish_stage("teacher", {})
    before = _files(workdir.path)
    with pytest.raises(OtherConfigError) as caught:
        WorkingDirectory(workdir.path, _changed(name, value))
    message = str(caught.value)
    assert f"config.{name} was {was} and is {value!r}" in message
    assert re.findall(r"config\.(\S+) was", message) == [name]
    assert str(workdir.path) in message
    assert _files(workdir.path) == before


def test_another_config_is_taken_where_nothing_was_done(workdir):
    WorkingDirectory(workdir.path, _changed("seed", 1))
    WorkingDirectory(workdir.path, _changed("seed", 2)).finish_stage("a", {})
    with pytest.raises(OtherConfigError, match="seed was 2 and is 0"):
        WorkingDirectory(workdir.path, CONFIG)


def test_a_run_goes_on_where_the_machine_differs(workdir):
    workdir.finish_stage("teacher", {})
    there = CONFIG | {"num_workers": 16}
    WorkingDirectory(workdir.path, there)
    assert json.loads((workdir.path / "config.json").read_text()) == there
    with pytest.raises(OtherConfigError) as caught:
        WorkingDirectory(workdir.path, CONFIG | {"seed": 1})
    assert re.findall(r"config\.(\S+) was", str(caught.value)) == ["seed"]


def test_every_field_that_differs_is_named(workdir):
    workdir.finish_stage("teacher", {})
    config = _changed("labels.recipe.epochs", 15) | {"seed": 1}
    del config["dataset"]
    with pytest.raises(OtherConfigError) as caught:
        WorkingDirectory(workdir.path, config)
    names = re.findall(r"config\.(\S+) was", str(caught.value))
    assert sorted(names) == ["dataset", "labels.recipe.epochs", "seed"]


def test_a_field_that_replaces_others_is_named(workdir):
    workdir.finish_stage("teacher", {})
    with pytest.raises(OtherConfigError, match=r"config\.labels was \{.*is 3"):
        WorkingDirectory(workdir.path, CONFIG | {"labels": 3})


def test_a_file_in_the_place_of_the_directory_is_an_oserror(tmp_path):
    (tmp_path / "digits").write_text("")
    with pytest.raises(OSError, match="digits"):
        WorkingDirectory(tmp_path / "digits", CONFIG)


def test_two_processes_do_not_run_stages_in_one_directory(workdir):
    with (
        workdir.locked(),
        pytest.raises(BlockingIOError, match="Another process .* running"),
        WorkingDirectory(workdir.path, CONFIG).locked(),
    ):
        pass
    with workdir.locked():
        pass
    # Nothing was left that another config could spoil.
    WorkingDirectory(workdir.path, _changed("seed", 2))


def test_another_config_does_not_take_the_place_of_one_that_is_run(workdir):
    other = _changed("seed", 1)
    with workdir.locked():
        with pytest.raises(BlockingIOError, match="Another process"):
            WorkingDirectory(workdir.path, other)
        assert workdir.read_json("config.json") == CONFIG
    # Nothing is done yet: whoever comes later has it.
    WorkingDirectory(workdir.path, other)
    with (
        pytest.raises(OtherConfigError, match="seed was 1 and is 0"),
        workdir.locked(),
    ):
        pass


def test_labels_of_other_images_are_not_offered(workdir):
    workdir.write_json("corpus/records.jsonl", {})
    with pytest.raises(OtherConfigError, match="config.corpus = .*records"):
        WorkingDirectory(workdir.path, _changed("seed", 1))
    with pytest.raises(OtherConfigError, match="Give another workdir, or"):
        WorkingDirectory(workdir.path, _changed("dataset", "cifar10"))


def test_a_missing_stage_is_refused_with_what_to_run_for_it(workdir):
    assert workdir.find_stage("teacher") is None
    with pytest.raises(MissingStageError) as caught:
        workdir.stage("teacher")
    assert "run bin/train_teacher.py" in str(caught.value)
    assert "teacher stage" in str(caught.value)
    assert str(workdir.path) in str(caught.value)


def test_a_stage_with_files_and_no_record_is_missing(workdir):
    with workdir.replacing("teacher/model.keras") as path:
        path.write_text("weights")
    with pytest.raises(MissingStageError):
        workdir.stage("teacher")


def test_a_finished_stage_gives_back_its_record(workdir):
    record = {"num_params": 7, "losses": [0.5, 0.25], "reason": None}
    workdir.finish_stage("teacher", record)
    assert workdir.stage("teacher") == record
    assert workdir.find_stage("teacher") == record
    assert workdir.find_stage("search") is None


def test_a_value_that_is_no_json_leaves_the_old_file(workdir):
    workdir.finish_stage("search", {"num_rounds": 2})
    before = _files(workdir.path)
    with pytest.raises(TypeError):
        workdir.finish_stage("search", {"num_rounds": object()})
    assert _files(workdir.path) == before


_KILLED = """
import os, signal, sys
from archcomp_tf.workdir import WorkingDirectory

workdir = WorkingDirectory(sys.argv[1], {"seed": 0})
workdir.finish_stage("search", {"num_rounds": 1})
with workdir.replacing("search/stage.json") as path:
    path.write_text('{"num_rounds": ')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_a_write_leaves_the_old_content(tmp_path):
    assert fresh.run(_KILLED, tmp_path).returncode == -signal.SIGKILL
    workdir = WorkingDirectory(tmp_path, {"seed": 0})
    assert workdir.find_stage("search") == {"num_rounds": 1}
    workdir.finish_stage("search", {"num_rounds": 2})
    assert workdir.find_stage("search") == {"num_rounds": 2}
