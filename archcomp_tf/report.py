"""RESULTS.md: what a compression found, as text with tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archcomp_tf.results import (
    all_test_accuracies,
    classes_text,
    doubts,
    file_title,
    headline,
    known_text,
    mean_and_spread,
    megaflops,
    networks,
    num_file_images,
    times_less,
    title,
    wanted,
)


def results_table(results: Mapping[str, Any]) -> str:
    """The networks of a run side by side, as a Markdown table.

    Args:
      results: the contents of results.json.

    Returns:
      A row each for the teacher, the student and the controls.
    """
    size = results["teacher"]["num_params"]
    rows = []
    for name, network in networks(results).items():
        rows.append(
            (
                _title(name),
                f"{network['num_params']:,}",
                f"{size / network['num_params']:.1f}x",
                megaflops(network),
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

    def times(name, field):
        ratio = times_less(files, name, field)
        return "" if ratio is None else f"{ratio:.1f}x"

    rows = [
        (
            file_title(name),
            f"{file['bytes']:,}",
            times(name, "bytes"),
            f"{file['ram_bytes']:,}",
            f"{file['accuracy']:.2%}",
            f"{file['latency_ms']:.3f}",
            times(name, "latency_ms"),
        )
        for name, file in files.items()
    ]
    columns = (
        *("LiteRT file", "bytes", "smaller", "RAM, bytes"),
        f"test, {num_file_images(files):,} images",
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
    for name in networks(runs[0]):
        finals = [networks(run)[name] for run in runs]
        sizes = [network["num_params"] for network in finals]
        tests = [100 * np.mean(all_test_accuracies(n)) for n in finals]
        lost = [
            100 * run["teacher"]["test_accuracy"] - test
            for run, test in zip(runs, tests, strict=True)
        ]
        before = [run["teacher"]["num_params"] for run in runs]
        rows.append(
            (
                _title(name),
                f"{np.mean(sizes):,.0f}",
                # Not the mean of ratios, which the smallest would make up.
                f"{np.mean(before) / np.mean(sizes):.1f}x",
                _mean_and_spread(tests),
                "" if name == "teacher" else _mean_and_spread(lost),
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
    return f"""\
# {results["dataset"]}, seed {results["seed"]}

{" ".join([f"{headline(results)}.", *doubts(results)])}

{results_table(results)}
{files_table(results["files"])}
{classes_text(results)}

Student: `{student["architecture"]}`
{start}: `{teacher["architecture"]}`
Asked for: `{wanted(results["config"])}`.
Labels: {results["search"]["num_labels"]}{known_text(results)} in \
{results["search"]["num_rounds"]} rounds. Time: {seconds}.
"""


def _title(name: str) -> str:
    """What a network is called here: the student stands out."""
    return f"**{title(name)}**" if name == "student" else title(name)


def _mean_and_spread(values: Sequence[float]) -> str:
    """Nothing of no values, and of one no spread."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return "{:.2f} +- {:.2f}".format(*mean_and_spread(values))


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
