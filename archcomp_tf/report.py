"""results.json, a readable table of it, and TensorBoard scalars."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

_COLUMNS = ("", "parameters", "smaller", "MFLOPs", "validation", "test")


def results_table(results: Mapping[str, Any]) -> str:
    """The networks of a run side by side, as a Markdown table.

    Args:
      results: the contents of results.json.

    Returns:
      A row each for the teacher, the student and the controls.
    """
    teacher = results["teacher"]
    networks = {
        "teacher": teacher,
        "**student**": results["student"],
        "teacher scaled in width": results["controls"]["width_scaled"],
        "best of random search": results["controls"]["random_search"],
    }
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS)]
    for name, network in networks.items():
        ratio = teacher["num_params"] / network["num_params"]
        rows.append(
            (
                name,
                f"{network['num_params']:,}",
                f"{ratio:.1f}x",
                f"{network['num_flops'] / 1e6:.2f}",
                f"{network['validation_accuracy']:.2%}",
                f"{network['test_accuracy']:.2%}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "| "
        + " | ".join(
            "-" * width if cell == "---" else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        + " |"
        for row in rows
    )


def results_text(results: Mapping[str, Any]) -> str:
    """RESULTS.md: the answer, the table, where the time went."""
    student, teacher = results["student"], results["teacher"]
    lost = 100 * (teacher["test_accuracy"] - student["test_accuracy"])
    seconds = ", ".join(
        f"{stage} {s:.0f} s" for stage, s in results["seconds"].items()
    )
    change = (
        f"{lost:.2f} points of test accuracy lost"
        if lost >= 0
        else f"{-lost:.2f} points of test accuracy gained"
    )
    return f"""\
# {results["dataset"]}, seed {results["seed"]}

{student["compression_ratio"]:.1f} times smaller, {change}.

{results_table(results)}

Student: `{student["architecture"]}`
Teacher: `{teacher["architecture"]}`
Labels: {results["search"]["num_labels"]} in {results["search"]["num_rounds"]} \
rounds. Time: {seconds}.
"""


def write_scalars(
    directory: str | os.PathLike, scalars: Mapping[str, Sequence[float]]
) -> None:
    """Writes TensorBoard scalars.

    Args:
      directory: of the event file.
      scalars: name -> values of steps 0, 1, 2, ...
    """
    writer = tf.summary.create_file_writer(os.fspath(directory))
    with writer.as_default():
        for name, values in scalars.items():
            for step, value in enumerate(values):
                tf.summary.scalar(name, value, step=step)
    writer.close()
