"""Tests of `processes`."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time

import fresh
import joblib
import numpy as np
import pytest

from archcomp_tf import processes
from archcomp_tf.processes import Shared, WorkerError, run_jobs

_SCRIPT = """
import concurrent.futures, os, sys
from archcomp_tf import processes

print("begins")  # and no `if __name__ == "__main__"`
with (
    processes.side_by_side(1000, OWN="7") as context,
    concurrent.futures.ProcessPoolExecutor(2, context) as pool,
):
    names = ["TF_NUM_INTRAOP_THREADS", "OWN"]
    print(*pool.map(os.getenv, names))
print(os.environ.get("OWN"), sys.modules["__main__"].__file__ == __file__)
"""


def test_modules_loaded_while_processes_are_started_stay_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    own = sys.modules["__main__"]
    with processes.side_by_side(2):
        assert sys.modules["__main__"] is not own
        module = importlib.import_module("colorsys")
    assert sys.modules["__main__"] is own
    assert sys.modules["colorsys"] is module


@pytest.mark.parametrize(
    ("num", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (9, 1)]
)
def test_processes_side_by_side_share_the_cores(num, threads, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    before = dict(os.environ)
    with processes.side_by_side(num):
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(threads)
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
    assert os.environ == before


def test_processes_side_by_side_do_not_run_the_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    done = fresh.run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["begins", "1 7", "None True"]
    # The script itself loads Keras, with whatever that says of itself.
    assert done.stderr.count("WARNING: All log messages") <= 2


_KILLED = """
import os, signal
from archcomp_tf import processes

with processes.side_by_side(1) as context:
    with context.Pool(1, processes.end_with_parent) as pool:
        print(*pool.map(int, [os.getpid()]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_KILLED)
    killed = fresh.start(script)
    assert killed.stdout.readline() == f"{killed.pid}\n"
    killed.wait()
    deadline = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        while time.monotonic() < deadline:
            os.killpg(killed.pid, 0)
            time.sleep(0.1)


_SHARING = """
import numpy as np
from archcomp_tf import processes

def double(shared, done):
    value = shared.get()
    value["array"] *= 2
    done.put((value["name"], value["array"].shape, value["none"].shape))

if __name__ == "__main__":
    array = np.arange(6.0).reshape(2, 3)
    value = {"name": "x", "array": array, "none": array[:0]}
    with processes.side_by_side(1) as context:
        shared = processes.Shared(value)
        done = context.SimpleQueue()
        process = context.Process(target=work.double, args=(shared, done))
        process.start()
        print(done.get())
        process.join()
    print(shared.get()["array"].sum(), array.sum())
"""


def test_arrays_that_are_shared_are_one_copy_for_all_processes(tmp_path):
    (tmp_path / "work.py").write_text(_SHARING.replace("work.double", "double"))
    script = tmp_path / "script.py"
    script.write_text("import work\n" + _SHARING)
    done = fresh.run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["('x', (2, 3), (0, 3))", "30.0 15.0"]


def _work(shared, job, tell):
    """A job is what to do."""
    if job == "end":
        os._exit(3)
    if job == "fail":
        raise ConnectionError("of its own")
    if job == "wait":
        time.sleep(600)
    tell(os.getpid())
    return shared.sum() + job


def test_jobs_run_side_by_side_and_tell_what_they_do():
    numbers = np.arange(5.0)
    news = list(run_jobs(_work, [1, 2, 3, 4, 5], Shared(numbers), 2))
    assert not multiprocessing.active_children()
    told = {place: value for place, ended, value in news if not ended}
    results = {place: value for place, ended, value in news if ended}
    assert results == {0: 11.0, 1: 12.0, 2: 13.0, 3: 14.0, 4: 15.0}
    assert told.keys() == results.keys() and len(news) == 10
    assert told[0] != told[1] and len(set(told.values())) == 2


def test_fewer_jobs_than_processes_start_no_more_than_there_are():
    with contextlib.closing(
        run_jobs(_work, [1], Shared(np.zeros(1)), 8)
    ) as news:
        next(news)
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()
    assert not list(run_jobs(_work, [], Shared(np.zeros(1)), 8))


def test_processes_end_with_whoever_hears_of_them():
    news = run_jobs(_work, [1, "wait"], Shared(np.zeros(1)), 2)
    with contextlib.closing(news):
        next(news)
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("job", "error", "match"),
    [
        ("fail", ConnectionError, "of its own"),
        ("end", WorkerError, "by exit code 3"),
    ],
)
def test_an_error_of_a_job_ends_the_others(job, error, match):
    with pytest.raises(error, match=match) as caught:
        list(run_jobs(_work, ["wait", job], Shared(np.zeros(1)), 2))
    assert not multiprocessing.active_children()
    assert (job == "fail") == ("in _work" in str(caught.value.__cause__))


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 1.0])
def test_a_process_that_is_killed_as_it_starts_keeps_nobody_waiting(seconds):
    def kill():
        while not (children := multiprocessing.active_children()):
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(children[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    # More than what a pipe holds that nobody reads.
    shared = Shared(np.zeros(1_000_000))
    thread.start()
    with pytest.raises(WorkerError, match="by signal 9"):
        list(run_jobs(_work, ["wait", "wait"], shared, 2))
    thread.join()
    assert not multiprocessing.active_children()
