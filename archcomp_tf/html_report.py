"""report.html: what a compression found, as one page to look at and to show.

The answer first; then the student beside its controls, class by class, its
files and its layers beside the teacher's; then what the search saw; last what
it took.
"""

from __future__ import annotations

import collections
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from archcomp_tf import comparison, exhibits, page
from archcomp_tf.anatomy import anatomy, layers_section
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import OK, Record
from archcomp_tf.latent import LatentMap
from archcomp_tf.layer import Shape
from archcomp_tf.progress import duration
from archcomp_tf.results import headline, networks


def html_report(
    results: Mapping[str, Any],
    records: Sequence[Record],
    *,
    input_shape: Shape,
    num_classes: int,
    predictions: Mapping[str, float],
    latent: LatentMap,
) -> str:
    """The page.

    Args:
      results: the contents of results.json.
      records: every record of the search, the student's among them, as members
        of the space around the teacher: `identity` where a layer is removed.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.
      predictions: fingerprint -> accuracy predicted before the label was known.
      latent: `z` are the records whose labels did not fail, in their order.

    Returns:
      An HTML document that needs no other file.

    Raises:
      ValueError: the student is not among the records.
    """
    labelled = [record for record in records if record.status == OK]
    members = {r.architecture.fingerprint: r.architecture for r in labelled}
    student = results["student"]["fingerprint"]
    if student not in members:
        raise ValueError(
            f"Expected the student {student} among the records; got "
            f"{len(labelled)} other networks."
        )
    finals = networks(results)
    teacher_parts, student_parts = (
        anatomy(architecture, input_shape, num_classes)
        for architecture in (
            Architecture.parse(results["teacher"]["architecture"]).compact,
            members[student],
        )
    )
    others = None
    if results["teacher"]["num_flops"] is not None:
        others = results["teacher"]["num_params"] - sum(
            part.num_params for part in teacher_parts
        )
    return page.page(
        f"{results['dataset']}: {headline(results)}",
        [
            comparison.answer_section(results),
            comparison.controls_section(results),
            comparison.classes_section(results),
            comparison.files_section(results["files"]),
            layers_section(teacher_parts, student_parts, others),
            exhibits.front_section(
                labelled,
                len(records) - len(labelled),
                comparison.network_marks(finals, "validation_accuracy"),
                comparison.networks_legend(finals),
            ),
            exhibits.map_section(labelled, latent, student),
            exhibits.predictions_section(
                labelled,
                predictions,
                results["embedding"]["accuracy_spearman"],
            ),
            _time_section(results["seconds"]),
            _origin_section(results),
        ],
    )


def _time_section(seconds: Mapping[str, float]) -> str:
    """Where the time went."""
    total, longest = sum(seconds.values()), max(seconds.values())
    rows = (
        f'<tr><th scope="row">{html.escape(stage)}</th>'
        f"<td>{duration(s)}</td><td>{s / total:.0%}</td><td>"
        f'<span class="bar" style="--share:{s / longest:.4f}"></span></td></tr>'
        for stage, s in seconds.items()
    )
    return page.section(
        "Where the time went",
        '<table class="time"><caption>Wall time of the stages since each was '
        f"last started, {duration(total)} in all.</caption><thead><tr>"
        '<th scope="col">stage</th><th scope="col">time</th>'
        '<th scope="col">share</th><td></td></tr></thead><tbody>',
        *rows,
        "</tbody></table>",
    )


def _origin_section(results: Mapping[str, Any]) -> str:
    """What it was made with, and which stages with what."""
    config = json.dumps(results["config"], indent=2)
    stages = collections.defaultdict(list)  # what it was made with -> which
    for stage, environment in results["environment"].items():
        values = (
            f"{name.replace('_', ' ')} {value}"
            for name, value in environment.items()
            if value is not None
        )
        stages[", ".join(values)].append(stage)
    return page.section(
        "How to make it again",
        *(
            page.paragraph(f"{', '.join(names).capitalize()}: {made_with}.")
            for made_with, names in stages.items()
        ),
        page.details("The config", f"<pre>{html.escape(config)}</pre>"),
    )
