"""Tests of the programs in bin/, run as a person runs them."""

import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import time

import fresh
import numpy as np
import pytest
import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.cost import num_params
from archcomp_tf.workdir import STAGES

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = f"--config={ROOT / 'tests/tiny.py'}"


def _run(binary, *arguments, cwd, **variables):
    return fresh.run(ROOT / binary, *arguments, cwd=cwd, **variables)


@pytest.fixture
def data(tmp_path):
    return f"--config.dataset={tiny.write_npz(tmp_path / 'data.npz')}"


def test_every_stage_runs_alone_on_what_the_one_before_it_left(tmp_path, data):
    for stage, binary in STAGES.items():
        done = _run(binary, CONFIG, data, "--workdir=run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "run" / stage / "stage.json").is_file()
    results = json.loads((tmp_path / "run/report/results.json").read_text())
    assert results["search"]["num_labels"] == 10
    # The whole pipeline finds nothing left to do, and says what came out.
    done = _run(
        "bin/run_pipeline.py", CONFIG, data, "--workdir=run", cwd=tmp_path
    )
    assert done.returncode == 0
    assert "| **student** " in done.stdout


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("stage corpus: starts", 1), ("label 2/2", 10)],
    ids=["labels", "finalists"],
)
def test_an_interrupted_run_ends_with_a_word_and_leaves_no_process(
    tmp_path, data, line, seconds
):
    """Ctrl-C, which a terminal sends to all processes of a program."""
    flags = (CONFIG, data, "--config.num_workers=2", "--workdir=run")
    # So long that it is never done.
    long = "--config.student.recipe.epochs=100_000"
    log = tmp_path / "log"
    with open(log, "wb") as file:
        run = fresh.start(
            *(ROOT / "bin/run_pipeline.py", *flags, long),
            cwd=tmp_path,
            stderr=file,
        )
    while run.poll() is None and line not in log.read_text():
        time.sleep(0.1)
    time.sleep(seconds)  # amid what comes then
    os.killpg(run.pid, signal.SIGINT)
    run.communicate()
    text = log.read_text()
    assert run.returncode == 130, text
    assert "Traceback" not in text
    assert text.endswith("stopped; the same command goes on from here\n")
    deadline = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        while time.monotonic() < deadline:
            os.killpg(run.pid, 0)
            time.sleep(0.1)


def test_the_same_program_is_a_chief_or_its_worker(tmp_path, data):
    """The worker knows neither the chief's folder nor its data set."""
    flags = (CONFIG, data, "--config.num_workers=0", "--workdir=run")
    done = _run("bin/train_teacher.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
    address = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": port,
    }
    with concurrent.futures.ThreadPoolExecutor() as threads:
        worker = threads.submit(
            _run,
            "bin/label.py",
            CONFIG,
            "--workdir=far",
            cwd=tmp_path,
            **address,
            KERASTUNER_TUNER_ID="worker7",
        )
        chief = _run(
            "bin/label.py",
            *flags,
            cwd=tmp_path,
            **address,
            KERASTUNER_TUNER_ID="chief",
        )
    assert chief.returncode == 0, chief.stderr
    assert worker.result().returncode == 0, worker.result().stderr
    records = (tmp_path / "run/corpus/records.jsonl").read_text()
    assert records.count('"status":"ok"') == 8
    assert not (tmp_path / "far").exists()


def test_half_an_address_is_one_error(tmp_path, data):
    for role in ("chief", "worker0"):
        done = _run(
            "bin/label.py",
            CONFIG,
            data,
            "--workdir=run",
            cwd=tmp_path,
            KERASTUNER_TUNER_ID=role,
        )
        _is_one_error(done, "KERASTUNER_ORACLE_IP is not set")


def test_labelling_is_measured_on_any_data(tmp_path):
    path = tiny.write_npz(tmp_path / "data.npz")
    done = _run(
        "bin/benchmark_labeling.py",
        "--output=out",
        "--part=speed",
        "--part=rank",
        f"--dataset={path}",
        "--teacher=conv3x3-8 conv3x3-8",
        "--epochs=1",
        "--num_networks=4",
        "--num_workers=1",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    speed = json.loads((tmp_path / "out/speed_data.json").read_text())
    assert speed["ratio"] > 0
    assert len(speed["plain_seconds"]) == len(speed["worker_seconds"]) == 4
    rank = json.loads((tmp_path / "out/rank_data.json").read_text())
    assert len(rank["networks"]) == 4
    assert all(len(network["long"]) == 2 for network in rank["networks"])


@pytest.mark.parametrize("stage", list(STAGES)[1:])
def test_a_stage_without_the_one_before_it_names_it(stage, tmp_path, data):
    done = _run(STAGES[stage], CONFIG, data, "--workdir=run", cwd=tmp_path)
    assert done.returncode == 1
    # And nothing of what libraries say while they are loaded.
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: run has no finished teacher stage: run bin/train_teacher.py"
        if stage in ("corpus", "report")
        else "error: run has no finished"
    )


def _npz(path, **changes):
    train, test = tiny.split(96, 0), tiny.split(32, 2)
    arrays = {
        "x_train": train.images,
        "y_train": train.labels,
        "x_test": test.images,
        "y_test": test.labels,
    } | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return f"--config.dataset={path}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test missing"),
        ({"x_train": np.zeros(96)}, "expected images of shape"),
        ({"y_test": np.full(32, 7)}, "expected labels from 0 to 1"),
    ],
)
def test_bad_arrays_are_one_error(tmp_path, changes, message):
    data = _npz(tmp_path / "bad.npz", **changes)
    done = _run(
        "bin/train_teacher.py", CONFIG, data, "--workdir=run", cwd=tmp_path
    )
    _is_one_error(done, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.dataset=no_such_set"], "Unknown data set 'no_such_set'"),
        (["--config.dataset=none.npz"], "There is no file none.npz"),
        (["--config.labels.num_labels=2"], "num_labels to be more than"),
        (
            ["--config.space.num_widths=0"],
            "num_widths, a whole number, of at least 1; got 0",
        ),
        (
            ["--config.space.divisor=0"],
            "divisor, a whole number, of at least 1; got 0",
        ),
        (["--config.objective.name=Least"], "Unknown objective 'Least'"),
    ],
)
def test_a_bad_config_is_one_error(tmp_path, data, arguments, message):
    binary = "bin/run_pipeline.py"
    done = _run(binary, CONFIG, data, *arguments, "--workdir=run", cwd=tmp_path)
    _is_one_error(done, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.labels.num_label=9"], 'Did you mean "num_labels"'),
        (["--config.labls.num_labels=9"], 'Did you mean "labels"'),
        (["--workdr=run"], "Did you mean: workdir"),
        (["surplus"], "Unexpected arguments: surplus"),
        ([f"--config={ROOT / 'configs/cifar10.py'}:vgg99"], "got 'vgg99'"),
    ],
)
def test_wrong_flags_are_refused_with_a_hint(tmp_path, arguments, message):
    done = _run(
        "bin/run_pipeline.py",
        CONFIG,
        "--workdir=run",
        *arguments,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert message in done.stderr + done.stdout


def test_a_working_directory_of_another_config_is_refused(tmp_path, data):
    binary = "bin/train_teacher.py"
    done = _run(binary, CONFIG, data, "--workdir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = _run(
        binary, CONFIG, data, "--config.seed=5", "--workdir=run", cwd=tmp_path
    )
    _is_one_error(done, "config.seed was 0 and is 5")


def _is_one_error(done, message):
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert message in lines[-1]
    assert "Traceback" not in done.stderr


def test_an_embedding_is_measured_for_any_space_and_only_once(tmp_path):
    arguments = (
        "bin/benchmark_embedding.py",
        "--space=conv3x3-16 max_pool2x2/2 conv3x3-32",
        "--output=out",
        "--seeds=3",
        "--epochs=1",
        "--num_architectures=256",
        "--num_held_out=512",
    )
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "out"
    assert {path.name for path in output.iterdir()} == {
        "RESULTS.md",
        "default_3.json",
        "latent_map.png",
        "predicted_against_true.png",
    }
    results = json.loads((output / "default_3.json").read_text())
    assert results["validity"] == {
        "random": 1,
        "interpolated": 1,
        "descent": 1,
    }
    assert "| exact reconstruction " in done.stdout
    assert (output / "RESULTS.md").read_text() == done.stdout
    # What is there is not measured again.
    results["exact_reconstruction"] = 0.123
    (output / "default_3.json").write_text(json.dumps(results))
    done = _run(*arguments, cwd=tmp_path)
    assert "| 0.123 +- 0 " in done.stdout
    # Nor is it taken for what was measured otherwise.
    done = _run(*arguments, "--epochs=2", cwd=tmp_path)
    assert done.returncode == 1
    assert "default_3.json was measured with" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space=vgg20"], "expected the path of a .csv file, or a network"),
        (["--space=nowhere.csv"], "nowhere.csv"),
        (["--variants=best"], "expected variants of default"),
        (["more"], "Unexpected arguments: more"),
    ],
)
def test_a_benchmark_of_nothing_is_one_error(arguments, message, tmp_path):
    done = _run(
        "bin/benchmark_embedding.py", "--output=out", *arguments, cwd=tmp_path
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def _table(path):
    """A CSV file with all members of a space of three layers."""
    slot = [f"conv{k}x{k}-{f}" for k in (1, 3) for f in (4, 8, 16)]
    lines = ["architecture,accuracy,params"]
    for layers in itertools.product(slot, repeat=3):
        architecture = Architecture.parse(" ".join(layers))
        size = num_params(architecture, (32, 32, 3), 10)
        lines.append(f"{architecture},{1 - 3 / np.log(size)},{size}")
    path.write_text("\n".join(lines))
    return path


def test_searches_are_compared_on_any_table_and_each_is_run_once(tmp_path):
    arguments = (
        "bin/benchmark_search.py",
        f"--problem={_table(tmp_path / 'table.csv')}",
        "--output=out",
        "--seeds=2",
        "--num_labels=24",
        "--weights=0.02,0.1",
        "--methods=regularized_evolution,random_search,expected_improvement",
    )
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "out"
    assert {path.name for path in output.iterdir()} == {
        "RESULTS.md",
        "regret_0.02.png",
        "regret_0.1.png",
        "expected_improvement.jsonl",
        "random_search.jsonl",
        "regularized_evolution.jsonl",
    }
    runs = [
        json.loads(line)
        for line in (output / "random_search.jsonl").read_text().splitlines()
    ]
    assert [(run["seed"], run["weight"]) for run in runs] == [
        (0, 0.02),
        (0, 0.1),
        (1, 0.02),
        (1, 0.1),
    ]
    for run in runs:
        assert run["num_labels"] == 24
        labels, regrets = zip(*run["regret"], strict=True)
        assert labels[0] == 1
        assert list(regrets) == sorted(regrets, reverse=True)
        assert regrets[-1] >= 0
    assert (output / "RESULTS.md").read_text() in done.stdout
    # Half the distance of the two runs, times the square root of two.
    last = [1e3 * r["regret"][-1][1] for r in runs if r["weight"] == 0.02]
    spread = f"{np.mean(last):.2f} +- {np.std(last, ddof=1):.2f}"
    assert spread in done.stdout.partition("| random_search")[2]
    # What is there is not run again.
    before = {path: path.read_bytes() for path in output.glob("*.jsonl")}
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    # Another table of the same name has runs of its own.
    table = tmp_path / "table.csv"
    table.write_text(re.sub(r",0\.\d+", ",0.5", table.read_text(), count=1))
    _is_one_error(_run(*arguments, cwd=tmp_path), "another table.csv")


def test_searches_within_a_budget_are_told_by_what_they_lose(tmp_path):
    table = _table(tmp_path / "table.csv")
    _, *rows = table.read_text().splitlines()
    sizes = sorted(int(row.rpartition(",")[2]) for row in rows)
    budget = sizes[len(sizes) // 4]
    done = _run(
        "bin/benchmark_search.py",
        f"--problem={table}",
        "--output=out",
        "--seeds=2",
        "--num_labels=24",
        f"--budgets={sizes[-1]},{budget}",
        "--methods=random_search,regularized_evolution",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"At most {budget:,} parameters: accuracy lost" in done.stdout
    assert done.stdout.index(f"{budget:,}") < done.stdout.index(
        f"{sizes[-1]:,}"
    )
    assert (tmp_path / f"out/lost_{budget}.png").exists()
    lines = (tmp_path / "out/random_search.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    assert [run["max_params"] for run in runs] == [sizes[-1], budget] * 2
    # The same networks are tried; fewer of them are allowed.
    all_of_it, within = (run["regret"][-1][1] for run in runs[:2])
    assert 0 <= all_of_it <= within < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budgets=few"], "--budgets: "),
        (["--problem=vgg20"], "--problem: expected the path of a .csv file"),
        (["--problem=nowhere.csv"], "nowhere.csv"),
        (["--methods=best"], "expected some of search, "),
        (["--num_labels=3"], "num_labels=3"),
        # All of its layers are separable already.
        (
            ["--problem=mobilenet_v1", "--methods=separable_scaling"],
            "got separable_scaling",
        ),
        (["more"], "Unexpected arguments: more"),
    ],
)
def test_a_comparison_of_nothing_is_one_error(arguments, message, tmp_path):
    done = _run(
        "bin/benchmark_search.py", "--output=out", *arguments, cwd=tmp_path
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_search_is_measured_around_any_network(tmp_path):
    teacher = "conv3x3-12 max_pool2x2/2 conv3x3-24"
    done = _run(
        "bin/benchmark_search.py",
        f"--problem={teacher}",
        "--output=out",
        "--seeds=1",
        "--num_labels=18",
        "--methods=width_scaling",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"# Search on {teacher}\n" in done.stdout
    row = done.stdout.splitlines()[-1]
    assert "| width_scaling | 1 " in re.sub(" +", " ", row)
    assert "+-" not in row  # one seed has no spread


def test_widths_are_not_scaled_in_a_table(tmp_path):
    table = f"--problem={_table(tmp_path / 'table.csv')}"
    done = _run(
        "bin/benchmark_search.py",
        table,
        "--output=out",
        "--methods=width_scaling",
        cwd=tmp_path,
    )
    _is_one_error(done, "got width_scaling")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "none.json: .*No such file"),
        ("{", "none.json: "),
        ("[1]", "none.json: expected a run's report/results.json"),
    ],
)
def test_what_is_no_result_cannot_be_summarized(tmp_path, content, message):
    if content:
        (tmp_path / "none.json").write_text(content)
    done = _run("bin/summarize_results.py", "none.json", cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(f"error: {message}.*\n", done.stderr)
