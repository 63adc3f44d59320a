"""results.json, and readable tables of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archcomp_tf.environment import environment

# Networks beside the student: key in results.json -> name in tables.
_CONTROLS = {
    "width_scaled": "teacher scaled in width",
    "around_scaled": "searched around, scaled in width",
    "random_search": "best of random search",
}


def assemble_results(
    config: Mapping[str, Any],
    dataset: str,
    stages: Mapping[str, Mapping[str, Any]],
    test_accuracies: Mapping[str, Sequence[float]],
    files: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """The contents of results.json.

    Args:
      config: of the run.
      dataset: its name.
      stages: what each stage before the report recorded, by its name.
      test_accuracies: in [0, 1], of each training of "teacher", "student" and
        the controls.
      files: LiteRT file -> its bytes, accuracy and latency.

    Returns:
      Plain values, as JSON has them.  The teacher's num_flops are None where
      its architecture is not its own, but what was searched around.
    """
    teacher = stages["teacher"]
    controls = stages["controls"]["networks"]
    trained = {"student": stages["students"], **controls}
    fields = ("architecture", "num_params", "num_flops", "validation_accuracy")
    rows = {
        name: {field: network[field] for field in fields}
        | {"test_accuracy": test_accuracies[name][network.get("best", 0)]}
        for name, network in {"teacher": teacher, **trained}.items()
    }
    for name, network in trained.items():
        rows[name] |= {
            "fingerprint": network["fingerprint"],
            "compression_ratio": teacher["num_params"] / network["num_params"],
            # Of a control nothing was predicted.
            "predicted_accuracy": network.get("predicted_accuracy"),
            # From several seeds; the network given is the best on validation.
            "validation_accuracies": network["validation_accuracies"],
            "test_accuracies": list(test_accuracies[name]),
        }
    search, embedding = stages["search"], stages["autoencoder"]
    return {
        "config": dict(config),
        "dataset": dataset,
        "seed": config["seed"],
        "seconds": {name: stage["seconds"] for name, stage in stages.items()},
        "environment": {n: stage["environment"] for n, stage in stages.items()}
        | {"report": environment()},
        "teacher": rows["teacher"],
        "student": rows["student"],
        "controls": {name: rows[name] for name in controls},
        "files": dict(files),
        "search": {
            key: search[key]
            for key in ("num_labels", "num_known", "num_rounds")
        },
        "embedding": {
            "exact_reconstruction": embedding["exact_reconstruction"],
            "accuracy_spearman": search["accuracy_spearman"],
            "params_mape": embedding["params_mape"],
        },
    }


def results_table(results: Mapping[str, Any]) -> str:
    """The networks of a run side by side, as a Markdown table.

    Args:
      results: the contents of results.json.

    Returns:
      A row each for the teacher, the student and the controls.
    """
    size = results["teacher"]["num_params"]
    rows = []
    for name, network in _networks(results).items():
        rows.append(
            (
                name,
                f"{network['num_params']:,}",
                f"{size / network['num_params']:.1f}x",
                _megaflops(network),
                f"{network['validation_accuracy']:.2%}",
                f"{network['test_accuracy']:.2%}",
                _mean_and_spread(
                    [100 * a for a in network.get("test_accuracies", ())]
                ),
            )
        )
    columns = (
        *("", "parameters", "smaller", "MFLOPs", "validation", "test"),
        "test of all seeds, %",
    )
    return markdown_table(columns, rows)


def files_table(files: Mapping[str, Mapping[str, float]]) -> str:
    """The LiteRT files beside the teacher's in float32, as a Markdown table.

    Args:
      files: the "files" of results.json; there may be none, or none of the
        teacher's.

    Returns:
      A row a file, in lines of their own; nothing where there are no files.
    """
    if not files:
        return ""
    teacher = files.get("teacher_float32")

    def times(file, field):
        return f"{teacher[field] / file[field]:.1f}x" if teacher else ""

    rows = [
        (
            name.replace("_", ", "),
            f"{file['bytes']:,}",
            times(file, "bytes"),
            f"{file['accuracy']:.2%}",
            f"{file['latency_ms']:.3f}",
            times(file, "latency_ms"),
        )
        for name, file in files.items()
    ]
    (num_images,) = {file["num_images"] for file in files.values()}
    columns = (
        *("LiteRT file", "bytes", "smaller"),
        f"test, first {num_images:,}",
        *("ms an image", "faster"),
    )
    return f"\n{markdown_table(columns, rows)}\n"


def summary_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The networks of several runs, averaged, as a Markdown table.

    Args:
      runs: the contents of their results.json; they differ in the seed.

    Returns:
      A row each for the teacher, the student and the controls: means over the
      runs, each the mean of its trainings, with the standard deviation over the
      runs of the test accuracies and of the points lost against the same run's
      teacher.
    """
    rows = []
    for name in _networks(runs[0]):
        networks = [_networks(run)[name] for run in runs]
        sizes = [network["num_params"] for network in networks]
        tests = [
            100 * np.mean(n.get("test_accuracies", n["test_accuracy"]))
            for n in networks
        ]
        lost = [
            100 * run["teacher"]["test_accuracy"] - test
            for run, test in zip(runs, tests, strict=True)
        ]
        ratios = [
            run["teacher"]["num_params"] / size
            for run, size in zip(runs, sizes, strict=True)
        ]
        rows.append(
            (
                name,
                f"{np.mean(sizes):,.0f}",
                f"{np.mean(ratios):.1f}x",
                _mean_and_spread(tests),
                "" if name == "teacher" else _mean_and_spread(lost),
            )
        )
    columns = ("", "parameters", "smaller", "test, %", "points lost")
    return markdown_table(columns, rows)


def results_text(results: Mapping[str, Any]) -> str:
    """RESULTS.md: the answer, the tables, where the time went."""
    student, teacher = results["student"], results["teacher"]
    lost = 100 * (teacher["test_accuracy"] - student["test_accuracy"])
    seconds = ", ".join(
        f"{stage} {s:.0f} s" for stage, s in results["seconds"].items()
    )
    # Of a teacher that is not what is searched around, the work is not known.
    own = teacher["num_flops"] is not None
    start = "Teacher" if own else "Searched around, not the teacher's own"
    change = (
        f"{lost:.2f} points of test accuracy lost"
        if lost >= 0
        else f"{-lost:.2f} points of test accuracy gained"
    )
    return f"""\
# {results["dataset"]}, seed {results["seed"]}

{student["compression_ratio"]:.1f} times smaller, {change}.

{results_table(results)}
{files_table(results["files"])}
Student: `{student["architecture"]}`
{start}: `{teacher["architecture"]}`
Labels: {results["search"]["num_labels"]} in {results["search"]["num_rounds"]} \
rounds. Time: {seconds}.
"""


def _networks(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rows of a table, by what they are called there."""
    return {
        "teacher": results["teacher"],
        "**student**": results["student"],
        **{
            _CONTROLS.get(name, name): control
            for name, control in results["controls"].items()
        },
    }


def _megaflops(network: Mapping[str, Any]) -> str:
    work = network["num_flops"]
    return "" if work is None else f"{work / 1e6:.2f}"


def _mean_and_spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation; nothing of no values."""
    if not values:
        return ""
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.2f} +- {spread:.2f}"


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Cells in columns of equal width, as Markdown reads them."""
    widths = [
        max(map(len, column)) for column in zip(columns, *rows, strict=True)
    ]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        )
        + " |"
        for line in lines
    )
