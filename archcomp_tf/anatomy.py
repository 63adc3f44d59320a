"""A student drawn beside its teacher, layer by layer: what was made of each.

Only the standard library is needed here.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

from archcomp_tf import cost, page
from archcomp_tf.architecture import POOL, Architecture
from archcomp_tf.charts import count_text
from archcomp_tf.layer import KINDS, Block, Layer, Shape


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer of a network, with what it costs.

    Attributes:
      layer: the layer; None for what closes the network, the pool and the
        classifier.
      output_shape: without the batch.
      num_params: weights, trainable or not.
      num_flops: operations for one image, two a multiply-add.
    """

    layer: Layer | None
    output_shape: Shape
    num_params: int
    num_flops: int


def anatomy(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> list[LayerCost]:
    """The layers of a network in order, `identity` ones too, and its end.

    The parameters and operations of the parts sum to those of the network.

    Args:
      architecture: the network.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.
    """
    built = (
        (block, shape)
        for name, block, shape in architecture.blocks(input_shape, num_classes)
        if name != POOL  # of no layer, and costs nothing
    )
    parts, shape = [], tuple(input_shape)
    for layer in (*architecture.layers, None):
        block = Block()
        if layer is None or layer.kind != "identity":
            block, shape = next(built)
        output_shape = block.output_shape(shape)
        parts.append(
            LayerCost(
                layer,
                output_shape,
                cost.block_params(block, shape),
                2 * cost.block_multiply_adds(block, shape),
            )
        )
        shape = output_shape
    return parts


def change(before: Layer, after: Layer) -> str:
    """What was done to a layer, such as "swapped, narrowed to 34%".

    Args:
      before: of the teacher.
      after: of the student, in the same slot.
    """
    if after == before:
        return "kept"
    if after.kind == "identity":
        return "removed"
    changes = ["swapped"] if after.kind != before.kind else []
    for field in KINDS[before.kind].fields:
        old, new = getattr(before, field), getattr(after, field)
        if field not in KINDS[after.kind].fields or new == old:
            continue
        if field == "filters":
            verb = "narrowed" if new < old else "widened"
            changes.append(f"{verb} to {new / old:.0%}")
        else:
            changes.append(f"{field.replace('_', ' ')} {old} to {new}")
    return ", ".join(changes)


def layers_section(
    teacher: Sequence[LayerCost],
    student: Sequence[LayerCost],
    others: int | None,
) -> str:
    """The student drawn beside its teacher.

    Args:
      teacher: its layers.
      student: its layers, slot by slot those of the teacher.
      others: how many parameters more the teacher has than its layers as they
        are built here; None where the layers are not the teacher's, but of what
        was searched around.
    """
    name = "searched around" if others is None else "teacher"
    widest = max(part.output_shape[-1] for part in (*teacher, *student))
    rows = []
    for old, new in zip(teacher, student, strict=True):
        done = change(old.layer, new.layer) if old.layer else ""
        style = "change kept" if done == "kept" else "change"
        rows.append(
            f"<tr>{_layer_cell(old, widest)}{_layer_cell(new, widest)}"
            f'<td class="text {style}">{html.escape(done)}</td>'
            f"{_cost_cells([old], [new])}</tr>"
        )
    more = ""
    if others:
        more = (
            f" The teacher itself has {abs(others):,} parameters "
            f"{'more' if others > 0 else 'fewer'}: its layers are shown as "
            "they are built here."
        )
    return page.section(
        "Layer by layer",
        '<table class="layers"><caption>A block is as large as the layer has '
        "output channels; under it stands the shape of the output."
        f"{more}</caption><thead>"
        '<tr><td colspan="3"></td>'
        '<th colspan="2" scope="colgroup">parameters</th>'
        '<th colspan="2" scope="colgroup">FLOPs</th></tr>'
        f'<tr><th scope="col" class="layer">{name}</th>'
        '<th scope="col" class="layer text">student</th>'
        '<th scope="col" class="text">what was done</th>',
        *2 * [f'<th scope="col">{name}</th><th scope="col">student</th>'],
        "</tr></thead><tbody>",
        *rows,
        '</tbody><tfoot><tr><td class="layer"><span>all layers</span></td>'
        '<td class="layer"><span>all layers</span></td>'
        f'<td class="change"></td>{_cost_cells(teacher, student)}'
        "</tr></tfoot></table>",
    )


def _layer_cell(part: LayerCost, widest: int) -> str:
    """A layer's text, its bar and the shape of its output."""
    if part.layer and part.layer.kind == "identity":
        return '<td class="layer removed"><span>removed</span></td>'
    name = str(part.layer) if part.layer else "classifier"
    style = "bar" if part.num_params else "bar pool"
    side = math.sqrt(part.output_shape[-1] / widest)
    return (
        f'<td class="layer"><code>{html.escape(name)}</code>'
        f'<span class="{style}"><i style="--side:{side:.4f}"></i></span>'
        f"<small>{'×'.join(map(str, part.output_shape))}</small></td>"
    )


def _cost_cells(
    teacher: Sequence[LayerCost], student: Sequence[LayerCost]
) -> str:
    """What these layers cost in both networks; exactly, under the pointer."""
    cells = []
    for unit, field in (
        ("parameters", "num_params"),
        ("FLOPs", "num_flops"),
    ):
        for parts in (teacher, student):
            count = sum(getattr(part, field) for part in parts)
            cells.append(
                f'<td class="number" data-unit="{unit}" title="{count:,}">'
                f"{count_text(count)}</td>"
            )
    return "".join(cells)
