"""Tests of `archcomp_tf.environment`."""

import subprocess
import sys

import keras
import pytest

from archcomp_tf import environment


def test_it_names_what_this_process_runs_on():
    described = environment.environment()
    assert described["keras"] == keras.__version__
    backend = keras.backend.backend()
    assert described[backend] == sys.modules[backend].__version__
    assert described["num_cpus"] >= 1
    assert described["commit"] is None or len(described["commit"]) == 40


def test_the_commit_is_that_of_this_package_and_no_other(tmp_path, monkeypatch):
    person = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    for command in (
        ("init", "-q"),
        (*person, "commit", "-q", "--allow-empty", "-m", "Somebody's own"),
    ):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    installed = tmp_path / "site-packages/archcomp_tf"
    installed.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", f"{installed}/environment.py")
    assert environment.environment()["commit"] is None
    (tmp_path / ".git").rename(installed.parent / ".git")
    assert len(environment.environment()["commit"]) == 40


def test_where_there_is_no_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.environment()["commit"] is None


def test_gpus_are_counted_and_the_first_is_named(monkeypatch):
    monkeypatch.setattr(environment, "gpu_names", lambda: ["One", "Other"])
    described = environment.environment()
    assert (described["num_gpus"], described["gpu"]) == (2, "One")
    monkeypatch.setattr(environment, "gpu_names", list)
    described = environment.environment()
    assert (described["num_gpus"], described["gpu"]) == (0, None)


def test_a_machine_has_some_memory():
    assert 1e8 < environment.physical_memory() < 1e15


def test_a_package_of_an_extra_that_is_missing_is_named_with_the_extra():
    environment.check_installed("keras", "benchmarks")
    with pytest.raises(ModuleNotFoundError) as caught:
        environment.check_installed("no_such_package", "benchmarks")
    assert "no_such_package" in str(caught.value)
    assert 'pip install -e ".[benchmarks]"' in str(caught.value)
