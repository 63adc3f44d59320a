"""What came out of a compression: the student against all it is held against.

Sections of a page: the answer, the student beside its controls, its files.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archcomp_tf import page
from archcomp_tf.charts import LOG, Axis, Mark, legend, scatter
from archcomp_tf.exhibits import describe

Networks = Mapping[str, Mapping[str, Any]]  # name in results.json -> its row

# Name in results.json -> name on the page, style and shape of its mark; any
# other network is one that a config names, under its own name.
_LOOKS = {
    "teacher": ("teacher", "teacher", "square"),
    "student": ("student", "student", "star"),
    "width_scaled": ("teacher scaled in width", "width_scaled", "triangle"),
    "around_scaled": (
        *("searched around, scaled in width", "width_scaled", "triangle"),
    ),
    "random_search": ("best of random search", "random_search", "diamond"),
}


def headline(results: Mapping[str, Any]) -> str:
    """The answer in one sentence, plain text, of a results.json."""
    teacher, student = results["teacher"], results["student"]
    lost = 100 * (teacher["test_accuracy"] - student["test_accuracy"])
    change = "lost" if lost >= 0 else "gained"
    return (
        f"{student['compression_ratio']:.1f} times smaller, {abs(lost):.2f} "
        f"points of test accuracy {change}"
    )


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
        work = [network["num_flops"] // 2 for network in (teacher, student)]
        text = (
            f"{work[1]:,} multiply-adds an image; the teacher has {work[0]:,}"
        )
        entries.append((*_times(*work, "less work", "more work"), text))
    files = results.get("files", {})
    students = {n: f for n, f in files.items() if n.startswith("student")}
    if (before := files.get("teacher_float32")) and students:
        for field, words, text in (
            ("bytes", ("smaller file", "larger file"), _size_text),
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
    num_labels = results["search"]["num_labels"]
    return "\n".join(
        [
            page.paragraph(
                f"{results['dataset']}, seed {results['seed']}: {num_labels} "
                "networks were trained to find this one",
                "kicker",
            ),
            f"<h1>{headline(results)}</h1>",
            page.tiles(entries),
        ]
    )


def controls_section(networks: Networks) -> str:
    """The networks side by side, and what that says."""
    size = networks["teacher"]["num_params"]
    columns = ["network", "parameters", "smaller", "multiply-adds"]
    columns += ["validation", "test", "test, all trainings"]
    rows = [
        [
            _look(name)[0],
            f"{network['num_params']:,}",
            f"{size / network['num_params']:.1f}×",
            _multiply_adds(network),
            f"{network['validation_accuracy']:.2%}",
            f"{network['test_accuracy']:.2%}",
            _mean_and_spread(_tests(network)),
        ]
        for name, network in networks.items()
    ]
    marks = [
        Mark(
            network["num_params"],
            test,
            f"{_look(name)[0]}, one training: {test:.2%}",
            f"{_look(name)[1]} one",
        )
        for name, network in networks.items()
        for test in _tests(network)
    ] + network_marks(networks, "test_accuracy")
    verdicts = (
        _verdict(_look(name)[0], network, networks["student"])
        for name, network in networks.items()
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
            "read once, at the end. Of all trainings: mean ± standard "
            "deviation (how many).",
            columns,
            rows,
            [_look(name)[1] for name in networks],
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
            networks_legend(networks),
        ),
    )


def _multiply_adds(network: Mapping[str, Any]) -> str:
    """Nothing of a teacher that is not what is searched around."""
    work = network["num_flops"]
    return "" if work is None else f"{work // 2:,}"


def _verdict(
    name: str, control: Mapping[str, Any], student: Mapping[str, Any]
) -> str:
    """What a control says of the student, in a list item."""
    # Of several trainings the mean says more than the one that was kept.
    accuracies = [float(np.mean(_tests(n))) for n in (control, student)]
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


def files_section(files: Mapping[str, Mapping[str, float]]) -> str:
    """What is shipped: bytes, accuracy and latency of each file.

    Args:
      files: "teacher_float32", if there is one, and others -> what
        `measurement.measure` says; nothing is said where there are none.
    """
    if not files:
        return ""
    teacher = files.get("teacher_float32")

    def times(file, field, digits):
        if not teacher:
            return ""
        return f"{teacher[field] / file[field]:.{digits}f}×"

    rows = [
        [
            _file_name(name),
            _size_text(file["bytes"]),
            times(file, "bytes", 1),
            f"{file['accuracy']:.2%}",
            _time_text(file["latency_ms"]),
            times(file, "latency_ms", 2),
        ]
        for name, file in files.items()
    ]
    (num_images,) = {file["num_images"] for file in files.values()}
    return page.section(
        "The files",
        page.table(
            "LiteRT files, measured in one run on one machine: the accuracy is "
            f"that of the first {num_images:,} test images, the latency the "
            "median of one image.",
            ["file", "size", "smaller", "accuracy", "latency", "faster"],
            rows,
            [name.partition("_")[0] for name in files],
        ),
    )


def _look(name: str) -> tuple[str, str, str]:
    return _LOOKS.get(name, (name, "other", "wedge"))


def network_marks(networks: Networks, field: str) -> list[Mark]:
    """The networks over their parameters, the student above the others."""
    marks = []
    for name, network in networks.items():
        title, style, shape = _look(name)
        described = describe(
            network[field], network["num_params"], network["architecture"]
        )
        marks.append(
            Mark(
                network["num_params"],
                network[field],
                f"{title}: {described}",
                style,
                shape,
            )
        )
    return sorted(marks, key=lambda mark: mark.style == "student")


def networks_legend(networks: Networks) -> str:
    return legend([_look(name) for name in networks])


def _tests(network: Mapping[str, Any]) -> list[float]:
    """Test accuracies of all trainings that are known."""
    training = network.get("training", network)
    return training.get("test_accuracies") or [network["test_accuracy"]]


def _mean_and_spread(accuracies: Sequence[float]) -> str:
    """Mean and sample standard deviation, of more than one."""
    if len(accuracies) < 2:
        return "–"
    mean, spread = np.mean(accuracies), np.std(accuracies, ddof=1)
    return f"{100 * mean:.2f} ± {100 * spread:.2f}% ({len(accuracies)})"


def _times(
    before: float, after: float, less: str, more: str
) -> tuple[str, str]:
    """How many times less, or more, and which of the two."""
    if after <= before:
        return f"{before / after:.1f}×", less
    return f"{after / before:.1f}×", more


def _file_name(name: str) -> str:
    """For example "student, int8"."""
    return name.replace("_", ", ")


def _size_text(num_bytes: float) -> str:
    if num_bytes < 1e6:
        return f"{num_bytes / 1e3:.1f} kB"
    return f"{num_bytes / 1e6:.2f} MB"


def _time_text(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms"
