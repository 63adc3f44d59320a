"""RESULTS.md: what a compression found, as text with tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archcomp_tf.results import (
    all_test_accuracies,
    classes_text,
    doubts,
    file_table,
    headline,
    known_text,
    network_table,
    networks,
    spread_text,
    title,
    wanted,
)


def summary_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The networks of several runs, averaged, as a Markdown table.

    Args:
      runs: the contents of their results.json; they differ in the seed.

    Returns:
      A row each for the teacher, the student and the controls that all runs
      have: means over the runs, each the mean of its trainings, with the
      standard deviation over the runs of the test accuracies and of the points
      lost against the same run's teacher.
    """
    rows = []
    for name in networks(runs[0]):
        finals = [networks(run).get(name) for run in runs]
        if None in finals:
            continue
        sizes = [network["num_params"] for network in finals]
        tests = [100 * np.mean(all_test_accuracies(n)) for n in finals]
        lost = [
            100 * run["teacher"]["test_accuracy"] - test
            for run, test in zip(runs, tests, strict=True)
        ]
        before = [run["teacher"]["num_params"] for run in runs]
        rows.append(
            (
                _bold_student(title(name)),
                f"{np.mean(sizes):,.0f}",
                # Not the mean of ratios, which the smallest would make up.
                f"{np.mean(before) / np.mean(sizes):.1f}x",
                spread_text(tests),
                "" if name == "teacher" else spread_text(lost),
            )
        )
    columns = ("", "parameters", "smaller", "test, %", "points lost")
    return markdown_table(columns, rows)


def results_text(results: Mapping[str, Any]) -> str:
    """RESULTS.md: the answer, the tables, where the time went."""
    student, teacher = results["student"], results["teacher"]
    # Whole seconds, however many: runs are held against each other by them.
    seconds = ", ".join(
        f"{stage} {s:.0f} s" for stage, s in results["seconds"].items()
    )
    # Of a teacher that is not what is searched around, the work is not known.
    own = teacher["num_flops"] is not None
    start = "Teacher" if own else "Searched around, not the teacher's own"
    columns, rows = network_table(results)
    rows = [[_bold_student(name), *cells] for name, *cells in rows]
    tables = [markdown_table(columns, rows)]
    if files := results["files"]:
        tables.append(markdown_table(*file_table(files)))
    joined = "\n\n".join(tables)
    return f"""\
# {results["dataset"]}, seed {results["seed"]}

{" ".join([f"{headline(results)}.", *doubts(results)])}

{joined}

{classes_text(results)}

Student: `{student["architecture"]}`
{start}: `{teacher["architecture"]}`
Asked for: `{wanted(results["config"])}`.
Labels: {results["search"]["num_labels"]}{known_text(results)} in \
{results["search"]["num_rounds"]} rounds. Time: {seconds}.
"""


def _bold_student(name: str) -> str:
    return f"**{name}**" if name == "student" else name


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
