"""results.json: what a run found, and what every report says of it alike.

`markdown_report.py` sets it as text, `html_report.py` as a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archcomp_tf.environment import environment
from archcomp_tf.search_space import SWAPS

# Name in results.json -> in tables; any other is one that a config names.
_TITLES = {
    "width_scaled": "teacher scaled in width",
    "around_scaled": "searched around, scaled in width",
    "random_search": "best of random search",
    **{kind: f"scaled teacher of {kind}" for kind in SWAPS},
}

# A control that has at most so many times the student's parameters is as small:
# no width scales the teacher to just its size.
_SAME_SIZE = 1.02

TEACHER_FILE = "teacher_float32"  # what files are held against


def assemble_results(
    config: Mapping[str, Any],
    dataset: str,
    stages: Mapping[str, Mapping[str, Any]],
    correct: Mapping[str, Sequence[np.ndarray]],
    labels: np.ndarray,
    files: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """The contents of results.json.

    Args:
      config: of the run.
      dataset: its name.
      stages: what each stage before the report recorded, by its name.
      correct: of "teacher", "student" and the controls: for each training bool
        `[N]`, whether each test image is put in the right class.
      labels: int `[N]`, the right classes.
      files: LiteRT file -> its bytes, accuracy and latency.

    Returns:
      Plain values, as JSON has them.  The teacher's num_flops are None where
      its architecture is not its own, but what was searched around.
    """
    teacher = stages["teacher"]
    finals = trained(stages)
    # From several seeds; the network given is the best on validation.
    given = {"teacher": 0} | {name: n["best"] for name, n in finals.items()}
    tests = {
        name: [float(np.mean(one)) for one in trainings]
        for name, trainings in correct.items()
    }
    fields = ("architecture", "num_params", "num_flops", "validation_accuracy")
    rows = {
        name: {field: network[field] for field in fields}
        | {"test_accuracy": tests[name][given[name]]}
        for name, network in {"teacher": teacher, **finals}.items()
    }
    for name, network in finals.items():
        rows[name] |= {
            "fingerprint": network["fingerprint"],
            "compression_ratio": teacher["num_params"] / network["num_params"],
            # Of a control nothing was predicted.
            "predicted_accuracy": network.get("predicted_accuracy"),
            "validation_accuracies": network["validation_accuracies"],
            "test_accuracies": tests[name],
            # The student breaks none.
            "broken_limits": network.get("broken_limits", []),
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
        "controls": {
            name: rows[name] for name in stages["controls"]["networks"]
        },
        # By class: of the test images, how many there are and how many of
        # them are put right.
        "classes": {"num_images": np.bincount(labels).tolist()}
        | {
            name: _by_class(correct[name][given[name]], labels)
            for name in ("teacher", "student")
        },
        "files": dict(files),
        # What makes the answer doubtful, in sentences.
        "doubts": [
            doubt
            for name in ("teacher", "corpus", "students")
            for doubt in stages[name]["doubts"]
        ],
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


def _by_class(correct: np.ndarray, labels: np.ndarray) -> list[float]:
    """The accuracy of each class, in [0, 1]; there are images of each."""
    sums = np.bincount(labels, weights=correct)
    return (sums / np.bincount(labels)).tolist()


def trained(
    stages: Mapping[str, Mapping[str, Any]],
) -> dict[str, Mapping[str, Any]]:
    """What was trained to the end: "student", then each control by its name.

    Args:
      stages: what each stage recorded, by its name.
    """
    return {"student": stages["students"], **stages["controls"]["networks"]}


def networks(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rows of a results.json: "teacher", "student", then the controls."""
    return {
        "teacher": results["teacher"],
        "student": results["student"],
        **results["controls"],
    }


def title(name: str) -> str:
    """What a network of `networks` is called in tables."""
    return _TITLES.get(name, name)


def headline(results: Mapping[str, Any]) -> str:
    """The answer in one sentence, plain text with no full stop."""
    teacher, student = results["teacher"], results["student"]
    lost = 100 * (teacher["test_accuracy"] - student["test_accuracy"])
    change = "lost" if lost >= 0 else "gained"
    return (
        f"{student['compression_ratio']:.1f} times smaller, {abs(lost):.2f} "
        f"points of test accuracy {change}"
    )


def class_changes(
    results: Mapping[str, Any],
) -> list[tuple[int, int, float, float]]:
    """(class, images, teacher's accuracy, student's), most lost first."""
    classes = results["classes"]
    rows = zip(
        classes["num_images"],
        classes["teacher"],
        classes["student"],
        strict=True,
    )
    return sorted(
        [(number, *row) for number, row in enumerate(rows)],
        key=lambda row: row[3] - row[2],
    )


def classes_text(results: Mapping[str, Any]) -> str:
    """In a sentence, whether what was lost was lost of one class."""
    changes = class_changes(results)
    (most, lost), (least, gained) = (
        (number, 100 * (student - teacher))
        for number, _, teacher, student in (changes[0], changes[-1])
    )
    return (
        "Class by class, the student's test accuracy is from "
        f"{lost:+.2f} points (class {most}) to {gained:+.2f} (class {least}) "
        "of the teacher's."
    )


def known_text(results: Mapping[str, Any]) -> str:
    """What stands behind the number of labels: how many were known before."""
    known = results["search"].get("num_known", 0)
    return f" beside {known} known ones" if known else ""


def wanted(config: Mapping[str, Any]) -> str:
    """The limits or the objective of a run as code: "Budget(max_params=7)".

    Args:
      config: of the run.
    """
    fields = {k: v for k, v in config["limits"].items() if v}
    name = "Limits"
    if not fields:
        fields = dict(config["objective"].items())
        name = fields.pop("name")
    return f"{name}({', '.join(f'{k}={v}' for k, v in fields.items())})"


def doubts(results: Mapping[str, Any]) -> list[str]:
    """What makes the answer of a results.json doubtful, in sentences.

    After what the stages doubted: which control did better than the student
    without being larger or breaking a limit, by the mean of all trainings on
    validation data, which is what choices are made by.
    """
    student = results["student"]
    largest = _SAME_SIZE * student["num_params"]
    own = np.mean(student["validation_accuracies"])
    sentences = [*results["doubts"]]
    for name, control in results["controls"].items():
        accuracies = control["validation_accuracies"]
        if (
            control["num_params"] <= largest
            and not control["broken_limits"]
            and np.mean(accuracies) > own
        ):
            sentences.append(
                f"A control did better, the {title(name)}: "
                f"{np.mean(accuracies):.2%} on validation data, the student "
                f"{own:.2%}, each the mean of its trainings. It is in "
                f"students/{control['fingerprint']}."
            )
    return sentences


def network_table(results: Mapping[str, Any]) -> tuple[list[str], list]:
    """The networks of a results.json side by side.

    Returns:
      The titles of the columns, and a row a network, in the order of
      `networks`: text throughout.
    """
    size = results["teacher"]["num_params"]
    columns = ["", "parameters", "smaller", "MFLOPs"]
    columns += ["validation", "test", "test of all seeds, %"]
    rows = [
        [
            title(name),
            f"{network['num_params']:,}",
            f"{size / network['num_params']:.1f}x",
            megaflops(network),
            f"{network['validation_accuracy']:.2%}",
            f"{network['test_accuracy']:.2%}",
            spread_text([100 * a for a in network.get("test_accuracies", ())]),
        ]
        for name, network in networks(results).items()
    ]
    return columns, rows


def file_table(
    files: Mapping[str, Mapping[str, float]],
) -> tuple[list[str], list]:
    """The same of its LiteRT files, which stand beside the teacher's.

    Args:
      files: the "files" of results.json, one at least; perhaps none is the
        teacher's.
    """
    # All were judged by as many.
    (num_images,) = {file["num_images"] for file in files.values()}
    columns = ["LiteRT file", "bytes", "smaller", "RAM, bytes"]
    columns += [f"test, {num_images:,} images", "ms an image", "faster"]

    def times(file, field):
        if TEACHER_FILE not in files:
            return ""
        return f"{files[TEACHER_FILE][field] / file[field]:.1f}x"

    rows = [
        [
            name.replace("_", ", "),
            f"{file['bytes']:,}",
            times(file, "bytes"),
            f"{file['ram_bytes']:,}",
            f"{file['accuracy']:.2%}",
            f"{file['latency_ms']:.3f}",
            times(file, "latency_ms"),
        ]
        for name, file in files.items()
    ]
    return columns, rows


def all_test_accuracies(network: Mapping[str, Any]) -> list[float]:
    """In [0, 1], of all trainings of a network that are known."""
    return network.get("test_accuracies") or [network["test_accuracy"]]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, which is 0 of a single value.

    Args:
      values: one or more.
    """
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(spread)


def spread_text(values: Sequence[float]) -> str:
    """For example "91.00 +- 1.00"; of a single value no spread."""
    if len(values) < 2:
        return "".join(f"{value:.2f}" for value in values)
    return "{:.2f} +- {:.2f}".format(*mean_and_spread(values))


def megaflops(network: Mapping[str, Any]) -> str:
    """Millions of operations an image; nothing where they are not known.

    They are not of a teacher that is not what is searched around.
    """
    work = network["num_flops"]
    return "" if work is None else f"{work / 1e6:.2f}"
