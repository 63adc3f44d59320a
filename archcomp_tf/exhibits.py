"""What a report shows of a search: the front, the map, predictions.

Each is a section of a page: a chart, and what it says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from archcomp_tf import page
from archcomp_tf.charts import LOG, Axis, Line, Mark, legend, scatter
from archcomp_tf.corpus import Record
from archcomp_tf.latent import LatentMap, on_plane, shown_steps
from archcomp_tf.ledger import pareto_front

_NUM_COLOURS = 5  # of the map; the page's style has as many


def describe(accuracy: float, num_params: int, architecture: object) -> str:
    """A network in one line: what it reaches, its size, its layers."""
    return f"{accuracy:.2%}, {num_params:,} parameters: {architecture}"


def front_section(
    labelled: Sequence[Record],
    num_failed: int,
    finals: Sequence[Mark],
    finals_legend: str,
) -> str:
    """Every labelled network, and those that no other beats.

    Args:
      labelled: records whose labels did not fail.
      num_failed: how many others there are.
      finals: networks that were trained to the end, as marks over parameters
        and validation accuracy.
      finals_legend: of these.
    """
    front = pareto_front(labelled)
    marks = [_mark(record, "label") for record in labelled]
    marks += [_mark(record, "best") for record in front] + [*finals]
    x = Axis.around("parameters", [mark.x for mark in marks], LOG)
    y = Axis.of_accuracies("validation accuracy", [mark.y for mark in marks])
    steps = [(front[0].num_params, front[0].accuracy)]
    for record in front[1:]:
        steps.append((record.num_params, steps[-1][1]))
        steps.append((record.num_params, record.accuracy))
    steps.append((x.ends[1], front[-1].accuracy))
    chart = scatter(
        marks,
        x,
        y,
        description="Validation accuracy against parameters of "
        f"{len(labelled)} networks, with the line of the best.",
        lines=[Line(steps, "front")],
    )
    entries = [
        ("trained briefly", "label", "circle"),
        ("no other is both smaller and better", "best", "circle"),
    ]
    failed = f" {num_failed} more failed." if num_failed else ""
    return page.section(
        "Every network that was trained to learn from",
        page.figure(
            chart,
            f"{len(labelled)} networks, each trained briefly, and the line of "
            f"those that no other beats.{failed} The larger marks were trained "
            "to the end.",
            legend(entries) + finals_legend,
        ),
        page.details(
            f"The {len(front)} that no other beats",
            _records_table("Smallest first.", front),
        ),
        page.details(
            f"All {len(labelled)} as a table",
            _records_table("In the order of training.", labelled),
        ),
    )


def _mark(record: Record, style: str) -> Mark:
    text = describe(
        record.accuracy, record.num_params, record.architecture.compact
    )
    return Mark(record.num_params, record.accuracy, text, style)


def _records_table(caption: str, records: Sequence[Record]) -> str:
    rows = [
        [f"{r.num_params:,}", f"{r.accuracy:.2%}", str(r.architecture.compact)]
        for r in records
    ]
    columns = ["parameters", "validation", "layers"]
    return page.table(caption, columns, rows, text_columns=[2])


def map_section(
    labelled: Sequence[Record], latent: LatentMap, student: str
) -> str:
    """The embedding in two dimensions, by accuracy and by size.

    Args:
      labelled: N records.
      latent: their encodings, and descents.
      student: fingerprint of one of them.
    """
    z, paths = on_plane(latent.z, latent.paths)
    points = np.concatenate([z, paths.reshape(-1, 2)])
    axes = [
        Axis.around(f"{name} principal component", values)
        for name, values in zip(("first", "second"), points.T, strict=True)
    ]
    lines = [
        Line(
            path[shown_steps(len(path))],
            "descent" if index else "descent first",
        )
        for index, path in enumerate(paths.swapaxes(0, 1))
    ]
    over = _descent_ends(latent, paths[-1])
    over.append(Mark(*paths[0, 0], "teacher", "teacher", "square"))
    over += [
        Mark(*point, "student", "student", "star")
        for point, record in zip(z, labelled, strict=True)
        if record.architecture.fingerprint == student
    ]
    places = [
        Mark(*point, _mark(record, "").text, "")
        for point, record in zip(z, labelled, strict=True)
    ]
    maps = [
        _coloured_map(name, values, number, places, over, lines, axes)
        for name, values, number in (
            ("accuracy", [r.accuracy for r in labelled], "{:.1%}"),
            ("parameters", [r.num_params for r in labelled], "{:,.0f}"),
        )
    ]
    return page.section(
        "The map of the embedding",
        page.paragraph(
            f"To the search a network is a point of {latent.z.shape[1]} "
            "numbers; here is the plane in which those that were trained "
            "differ most. The lines are descents, by what was known in the "
            "end: the thick one from the teacher, others from some of the "
            "networks."
        ),
        legend(
            [
                ("teacher", "teacher", "square"),
                ("student", "student", "star"),
                ("end of a descent", "end", "circle"),
            ]
        ),
        f'<div class="pair">{"".join(maps)}</div>',
    )


def _descent_ends(latent: LatentMap, points: np.ndarray) -> list[Mark]:
    """Where descents end, and which networks these are.

    Args:
      latent: B descents.
      points: `[B, 2]`, their ends on the plane.
    """
    return [
        Mark(
            *point,
            "end of a descent: "
            + describe(accuracy, round(10**log_params), decoded),
            "end",
        )
        for point, accuracy, log_params, decoded in zip(
            points,
            latent.accuracy[-1],
            latent.log_params[-1].astype(float),
            latent.decoded[-1],
            strict=True,
        )
    ]


def _coloured_map(
    name: str,
    values: Sequence[float],
    number: str,
    networks: Sequence[Mark],
    over: Sequence[Mark],
    lines: Sequence[Line],
    axes: Sequence[Axis],
) -> str:
    """The map, with a fifth of the networks in each colour.

    Args:
      name: what they are coloured by.
      values: of it, one a network.
      number: format of a value.
      networks: where they are; the colour is their style.
      over: marks above them.
      lines: below them.
      axes: to the right and upward.
    """
    limits = np.quantile(values, np.arange(1, _NUM_COLOURS + 1) / _NUM_COLOURS)
    colours = np.searchsorted(limits, values)
    marks = [
        dataclasses.replace(mark, style=f"q{colour}")
        for mark, colour in zip(networks, colours, strict=True)
    ]
    chart = scatter(
        [*marks, *over],
        *axes,
        description=f"Map of the embedding, coloured by {name}, with the "
        "paths of descents.",
        lines=lines,
        with_ticks=False,
    )
    entries = [
        (f"to {number.format(limit)}", f"q{colour}", "circle")
        for colour, limit in enumerate(limits)
    ]
    return page.figure(
        chart,
        f"By {name}; a fifth of the networks has each colour.",
        legend(entries),
    )


def predictions_section(
    labelled: Sequence[Record],
    predictions: Mapping[str, float],
    spearman: float | None,
) -> str:
    """Predicted against true accuracy, of networks that were proposed.

    Args:
      labelled: records.
      predictions: fingerprint -> accuracy predicted before the label.
      spearman: rank correlation of the two, if there is one.

    Returns:
      Nothing where nothing was predicted.
    """
    marks = [
        Mark(
            record.accuracy,
            predicted,
            f"predicted {predicted:.2%}, {_mark(record, '').text}",
            "best",
        )
        for record in labelled
        if (predicted := predictions.get(record.architecture.fingerprint))
        is not None
    ]
    if not marks:
        return ""
    values = [value for mark in marks for value in (mark.x, mark.y)]
    x = Axis.of_accuracies("accuracy after training", values)
    y = Axis.of_accuracies("accuracy predicted", values)
    rank = "" if spearman is None else f" Rank correlation {spearman:.2f}."
    return page.section(
        "Predicted before, found after",
        page.figure(
            scatter(
                marks,
                x,
                y,
                description="Predicted against true accuracy, with the line "
                "where they agree.",
                lines=[Line([(end, end) for end in x.ends], "same")],
            ),
            f"The {len(marks)} networks that the search proposed, each "
            "predicted before it was trained; on the dashed line the two "
            f"agree.{rank} A search proposes what it expects to be good, so "
            "that these differ less than networks do at large.",
        ),
    )
