"""What came out of a compression: the student against all it is held against.

Sections of a page: the answer, the student beside its controls, class by class,
its files.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from archcomp_tf import page
from archcomp_tf.charts import LOG, Axis, Mark, legend, scatter
from archcomp_tf.exhibits import describe
from archcomp_tf.results import (
    TEACHER_FILE,
    all_test_accuracies,
    class_changes,
    classes_text,
    doubts,
    file_table,
    headline,
    known_text,
    mean_and_spread,
    megaflops,
    network_table,
    networks,
    title,
    wanted,
)

Networks = Mapping[str, Mapping[str, Any]]  # name in results.json -> its row

# Name in results.json -> style and shape of its mark; any other network is one
# that a config names.
_LOOKS = {
    "teacher": ("teacher", "square"),
    "student": ("student", "star"),
    "width_scaled": ("width_scaled", "triangle"),
    "around_scaled": ("width_scaled", "triangle"),
    "random_search": ("random_search", "diamond"),
}


def answer_section(results: Mapping[str, Any]) -> str:
    """How much smaller, how accurate, how fast, of a results.json."""
    teacher, student = results["teacher"], results["student"]
    entries = [
        (
            f"{student['compression_ratio']:.1f}×",
            "smaller",
            f"{student['num_params']:,} parameters; the teacher has "
            f"{teacher['num_params']:,}",
        ),
        (
            f"{student['test_accuracy']:.2%}",
            "test accuracy",
            f"the teacher has {teacher['test_accuracy']:.2%}",
        ),
    ]
    if teacher["num_flops"] is not None:
        work = [network["num_flops"] for network in (teacher, student)]
        text = (
            f"{megaflops(student)} MFLOPs an image; the teacher has "
            f"{megaflops(teacher)}"
        )
        entries.append((*_times(*work, "less work", "more work"), text))
    files = results["files"]
    students = {n: f for n, f in files.items() if n.startswith("student")}
    if (before := files.get(TEACHER_FILE)) and students:
        for field, words, text in (
            ("bytes", ("smaller file", "larger file"), _size_text),
            ("ram_bytes", ("less RAM", "more RAM"), _size_text),
            ("latency_ms", ("faster", "slower"), _time_text),
        ):
            name, after = min(students.items(), key=lambda item: item[1][field])
            entries.append(
                (
                    *_times(before[field], after[field], *words),
                    f"{text(after[field])} in {name.partition('_')[2]}; the "
                    f"teacher in float32 {text(before[field])}",
                )
            )
    return "\n".join(
        [
            page.paragraph(
                f"{results['dataset']}, seed {results['seed']}, "
                f"{wanted(results['config'])}: "
                f"{results['search']['num_labels']} networks"
                f"{known_text(results)} were trained to find this one",
                "kicker",
            ),
            f"<h1>{headline(results)}</h1>",
            *map(page.paragraph, doubts(results)),
            page.tiles(entries),
        ]
    )


def controls_section(results: Mapping[str, Any]) -> str:
    """The networks side by side, and what that says."""
    (_, *columns), rows = network_table(results)
    finals = networks(results)
    marks = [
        Mark(
            network["num_params"],
            test,
            f"{title(name)}, one training: {test:.2%}",
            f"{_look(name)[1]} one",
        )
        for name, network in finals.items()
        for test in all_test_accuracies(network)
    ] + network_marks(finals, "test_accuracy")
    verdicts = (
        _verdict(title(name), network, finals["student"])
        for name, network in finals.items()
        if name not in ("teacher", "student")
    )
    return page.section(
        "Against what could be had without it",
        f"<ul>{''.join(verdicts)}</ul>",
        page.paragraph(
            "These were trained by the student's recipe, for as long.", "note"
        ),
        page.table(
            "Choices were made on the validation images; the test images were "
            "read once, at the end. Of all seeds: mean and standard "
            "deviation. MFLOPs: millions of operations an image, two a "
            "multiply-add.",
            ["network", *columns],
            [[cell.replace("+-", "±") for cell in row] for row in rows],
            [_look(name)[1] for name in finals],
        ),
        page.figure(
            scatter(
                marks,
                Axis.around("parameters", [m.x for m in marks], LOG),
                Axis.of_accuracies("test accuracy", [m.y for m in marks]),
                description="Test accuracy against parameters of the teacher, "
                "the student and the controls.",
            ),
            "Test accuracy against size; faint dots are single trainings. "
            "Accuracies are spread by the logarithm of the error: from 98 to "
            "99 percent is as far as from 80 to 90.",
            networks_legend(finals),
        ),
    )


def _verdict(
    name: str, control: Mapping[str, Any], student: Mapping[str, Any]
) -> str:
    """What a control says of the student, in a list item."""
    # Of several trainings the mean says more than the one that was kept.
    accuracies = [
        mean_and_spread(all_test_accuracies(n))[0] for n in (control, student)
    ]
    ahead = round(100 * (accuracies[1] - accuracies[0]), 2)
    if ahead:
        side = "below" if ahead > 0 else "above"
        distance = f"{abs(ahead):.2f} points {side} the student"
    else:
        distance = "as many as the student"
    size = control["num_params"] / student["num_params"]
    return (
        f"<li><b>{html.escape(name[0].upper() + name[1:])}</b>, with "
        f"{size:.2f} times the student's parameters: {accuracies[0]:.2%} of "
        f"the test images right, {distance}.</li>"
    )


def classes_section(results: Mapping[str, Any]) -> str:
    """The student against the teacher, class by class, of a results.json."""
    changes = class_changes(results)
    rows = [
        [
            str(number),
            f"{num_images:,}",
            f"{teacher:.2%}",
            f"{student:.2%}",
            f"{100 * (student - teacher):+.2f}",
        ]
        for number, num_images, teacher, student in changes
    ]
    return page.section(
        "Class by class",
        page.paragraph(classes_text(results)),
        page.details(
            f"All {len(changes)} classes",
            page.table(
                "Share of each class's test images that are put in it, and the "
                "difference in points; those that lost most first.",
                ["class", "images", "teacher", "student", "difference"],
                rows,
            ),
        ),
    )


def files_section(files: Mapping[str, Mapping[str, float]]) -> str:
    """What is shipped: bytes, accuracy and latency of each file.

    Args:
      files: "teacher_float32", if there is one, and others -> what
        `measurement.measure` says; nothing is said where there are none.
    """
    if not files:
        return ""

    columns, rows = file_table(files)
    return page.section(
        "The files",
        page.table(
            "LiteRT files, measured in one run on one machine: RAM is what the "
            "activations of an image take at once, the latency the median of "
            "one image.",
            columns,
            rows,
            [name.partition("_")[0] for name in files],
        ),
    )


def _look(name: str) -> tuple[str, str, str]:
    """A network's title, and the style and shape of its mark."""
    return title(name), *_LOOKS.get(name, ("other", "wedge"))


def network_marks(finals: Networks, field: str) -> list[Mark]:
    """The networks over their parameters, the student above the others."""
    marks = []
    for name, network in finals.items():
        text, style, shape = _look(name)
        described = describe(
            network[field], network["num_params"], network["architecture"]
        )
        marks.append(
            Mark(
                network["num_params"],
                network[field],
                f"{text}: {described}",
                style,
                shape,
            )
        )
    return sorted(marks, key=lambda mark: mark.style == "student")


def networks_legend(finals: Networks) -> str:
    """What the marks of `network_marks` stand for, an entry a network."""
    return legend([_look(name) for name in finals])


def _times(
    before: float, after: float, less: str, more: str
) -> tuple[str, str]:
    """How many times less, or more, and which of the two."""
    if after <= before:
        return f"{before / after:.1f}×", less
    return f"{after / before:.1f}×", more


def _size_text(num_bytes: float) -> str:
    if num_bytes < 1e6:
        return f"{num_bytes / 1e3:.1f} kB"
    return f"{num_bytes / 1e6:.2f} MB"


def _time_text(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms"
