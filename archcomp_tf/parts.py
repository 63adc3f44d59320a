"""Steps of a Keras model -> the layers that they are.

A layer is what its own expansion is: all that is known of a kind is in `KINDS`.
Where a whole model is not exactly what `build` makes, batch norms and biases
do not count, and the way through the steps is taken on which the fewest things
differ.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import operator
from collections.abc import Iterator

from archcomp_tf.keras_graph import UnsupportedModelError
from archcomp_tf.layer import KINDS, Block, Layer, Op
from archcomp_tf.steps import (
    BATCH_NORM,
    POOL,
    RELU,
    Item,
    Step,
    item_text,
    path_text,
    without,
)

ADDED = "an activation added"
LEFT_OUT = "an activation left out"
_REACH = 12  # steps looked at for one layer, more than any kind has


@dataclasses.dataclass(frozen=True)
class Part:
    """What some steps are read as.

    Attributes:
      layer: None for the implied pool, a stray activation or the classifier.
      steps: what it is read from.
      remarks: in what they differ.
    """

    layer: Layer | None
    steps: tuple[Step, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_stray(self) -> bool:
        """Whether it is an activation that belongs to no layer."""
        return not self.layer and all(s.item == RELU for s in self.steps)

    def __add__(self, other: Part) -> Part:
        return Part(
            self.layer or other.layer,
            self.steps + other.steps,
            self.remarks + other.remarks,
        )


def parts_of(row: list[Step]) -> list[Part]:
    """The layers that steps are, stray activations between them.

    Args:
      row: the steps of a model without its classifier.

    Raises:
      UnsupportedModelError: names the first that is part of no layer.
    """
    choices = _choices(row, exact=True)
    if parts := _best(choices):
        return parts
    row = _structure(row)
    choices = _choices(row, exact=False)
    parts = _best(choices)
    if parts is None:
        raise _unreadable(row, choices)
    return parts


def with_strays(parts: list[Part]) -> list[Part]:
    """The parts, stray activations put to the one before, or else behind."""
    merged = parts[:1]
    for part in parts[1:]:
        if part.is_stray or merged[-1].is_stray:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def _structure(row: list[Step]) -> list[Step]:
    """Steps without their batch norms and biases."""
    return [
        dataclasses.replace(step, item=_bare(step.item))
        for step in without(row, BATCH_NORM)
    ]


def _bare(item: Item) -> Item:
    if isinstance(item, Op):
        return dataclasses.replace(item, use_bias=False)
    return frozenset(map(_bare_ops, item))


def _bare_ops(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    return tuple(_bare(op) for op in ops if op != BATCH_NORM)


def _bare_block(block: Block) -> Block:
    shortcut = block.shortcut
    return Block(
        _bare_ops(block.branch),
        None if shortcut is None else _bare_ops(shortcut),
        _bare_ops(block.after),
    )


def _choices(row: list[Step], exact: bool) -> list[tuple[Part, ...]]:
    """What the steps from each on may begin with.

    Args:
      row: the steps.
      exact: whether a layer has to expand into just these steps.
    """
    starts = range(len(row))
    return [tuple(_starts(row[i : i + _REACH], exact)) for i in starts]


def _best(choices: list[tuple[Part, ...]]) -> list[Part] | None:
    """The way with the fewest remarks, then the fewest layers, if any."""
    # (remarks, layers, the first part) from here to the end.
    best: list = [None] * len(choices) + [(0, 0, None)]
    for start in reversed(range(len(choices))):
        for part in choices[start]:
            if rest := best[start + len(part.steps)]:
                rank = rest[0] + len(part.remarks), rest[1] + 1
                if best[start] is None or rank < best[start][:2]:
                    best[start] = *rank, part
    if best[0] is None:
        return None
    parts, start = [], 0
    while part := best[start][2]:
        parts.append(part)
        start += len(part.steps)
    return parts


def _starts(row: list[Step], exact: bool) -> Iterator[Part]:
    """What steps may begin with."""
    items, channels = tuple(s.item for s in row), row[0].input_shape[-1]
    if items[0] == POOL:
        yield Part(None, (row[0],))
    elif items[0] == RELU:
        if not exact:  # no kind begins with one
            yield Part(None, (row[0],), (LEFT_OUT,))
        return
    for layer in _candidates(items, channels):
        if exact:
            wanted = _items(layer.expand(channels))
            found = len(wanted) if items[: len(wanted)] == wanted else 0, ()
        else:
            found = _layer_alike(items, layer, channels) or (0, ())
        if length := found[0]:
            yield Part(layer, tuple(row[:length]), found[1])


def _candidates(items: tuple, channels: int) -> Iterator[Layer]:
    """Every layer whose fields have values that occur in `items`."""
    ops = []
    for item in items:
        ops += [item] if isinstance(item, Op) else itertools.chain(*item)
    filters = {op.filters for op in ops if op.filters}
    values = {
        "filters": filters,
        "kernel_size": {op.kernel_size for op in ops},
        "strides": {op.strides for op in ops},
        "expansion": {1, *(round(n / channels) for n in filters)} - {0},
    }
    for kind, spec in KINDS.items():
        choices = (sorted(values[field]) for field in spec.fields)
        for chosen in itertools.product(*choices):
            yield Layer(kind, **dict(zip(spec.fields, chosen, strict=True)))


# How many steps are alike, and in what they still differ.
_Found = tuple[int, tuple[str, ...]]


def _layer_alike(
    items: tuple[Item, ...], layer: Layer, channels: int
) -> _Found | None:
    """Whether items begin with what is a layer in all that counts."""
    remarks = ()
    if "expansion" in KINDS[layer.kind].fields:
        items, remarks = _whole_expansion(items, channels)
    found = _alike(items, _bare_block(layer.expand(channels)))
    return found and (found[0], found[1] + remarks)


def _whole_expansion(
    items: tuple[Item, ...], channels: int
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items that expand by a whole number, and what that changes."""
    first, *rest = items or (None,)
    if isinstance(first, frozenset):
        found = [_whole_expansion(path, channels) for path in first]
        paths, remarks = zip(*found, strict=True)
        return (frozenset(paths), *rest), tuple(itertools.chain(*remarks))
    if first == RELU:
        rest, remarks = _whole_expansion(tuple(rest), channels)
        return (first, *rest), remarks
    names = [item.name for item in items if isinstance(item, Op)]
    names = [name for name in names if name != RELU.name]
    if names[:2] != ["conv", "depthwise_conv"] or first.kernel_size > 1:
        return items, ()
    whole = channels * max(1, round(first.filters / channels))
    if first.filters == whole:
        return items, ()
    remark = f"expands to {first.filters}, built to {whole}"
    return (dataclasses.replace(first, filters=whole), *rest), (remark,)


def _alike(items: tuple[Item, ...], block: Block) -> _Found | None:
    """Whether items begin with what is a block in all that counts."""
    if block.shortcut is None:
        return _ops_alike(items, block.branch + block.after)
    if isinstance(items[0], Op):
        return None
    paths = tuple(items[0])
    sums = [
        _sum_alike(branch, shortcut, block)
        for branch, shortcut in (paths[:1] + paths[-1:], paths[-1:] + paths[:1])
    ]
    sums = [remarks for remarks in sums if remarks is not None]
    after = _ops_alike(items[1:], block.after)
    if not sums or after is None:
        return None
    return 1 + after[0], min(sums, key=len) + after[1]


def _sum_alike(
    branch: tuple[Op, ...], shortcut: tuple[Op, ...], block: Block
) -> tuple[str, ...] | None:
    """In what two paths differ from those of a block; None for too much."""
    found = _ops_alike(branch, block.branch)
    if found is None or any(op != RELU for op in branch[found[0] :]):
        return None
    remarks = found[1] + (LEFT_OUT,) * (len(branch) - found[0])
    if shortcut == block.shortcut:
        return remarks
    convs = [op for op in shortcut if op.name == "conv"]
    pools = [op for op in shortcut if op.name in ("max_pool", "avg_pool")]
    rest = [op for op in shortcut if op not in [*convs, *pools, RELU]]
    if rest or len(convs) > 1 or any(op.kernel_size > 1 for op in convs):
        return None
    built = path_text(block.shortcut)
    return (*remarks, f"shortcut {path_text(shortcut)} built as {built}")


def _ops_alike(
    items: tuple[Item, ...], wanted: tuple[Op, ...]
) -> _Found | None:
    """Compares operations, but for activations and where the strides are."""
    length, remarks, pairs = 0, (), []
    for op in wanted:
        while op != RELU and items[length : length + 1] == (RELU,):
            length, remarks = length + 1, (*remarks, LEFT_OUT)
        item = items[length] if length < len(items) else None
        if op == RELU and item != RELU:
            remarks += (ADDED,)
            continue
        if not isinstance(item, Op):
            return None
        if dataclasses.replace(item, strides=op.strides) != op:
            return None
        pairs.append((item.strides, op.strides))
        length += 1
    # Strides of 2 and then 1 come to the same as 1 and then 2.
    if any(found != built for found, built in pairs):
        remarks += ("strides on another convolution",)
    totals = {math.prod(strides) for strides in zip(*pairs, strict=True)}
    return None if len(totals) > 1 else (length, remarks)


def _items(block: Block) -> tuple[Item, ...]:
    if block.shortcut is None:
        return block.branch + block.after
    return (frozenset((block.branch, block.shortcut)), *block.after)


def _unreadable(
    row: list[Step], choices: list[tuple[Part, ...]]
) -> UnsupportedModelError:
    """The error at the first step that no way reaches beyond."""
    reached = {0}
    for start, parts in enumerate(choices):
        if start in reached:
            reached |= {start + len(part.steps) for part in parts}
    row = row[max(reached) :][:_REACH]
    items = [step.item for step in row if step.item != RELU]
    channels = row[0].input_shape[-1]
    rows = {
        layer: [
            op
            for op in _items(_bare_block(layer.expand(channels)))
            if op != RELU
        ]
        for layer in _candidates(tuple(items), channels)
    }
    expected, got = f"the start of one of {', '.join(KINDS)}", items[0]
    if isinstance(got, frozenset):
        sums = {
            x: r[0] for x, r in rows.items() if r and not isinstance(r[0], Op)
        }
        if sums:
            near = max(sums, key=lambda layer: _likeness(sums[layer], got))
            expected = f"{item_text(sums[near])} as in {near}"
    else:
        near = max(rows, key=lambda layer: _num_equal(items, rows[layer]))
        if num := _num_equal(items, rows[near]):
            expected = f"{item_text(rows[near][num])} next in {near}"
            got = items[num] if num < len(items) else None
    return UnsupportedModelError(row[0].layer, expected, item_text(got))


def _num_equal(items: list[Item], wanted: list[Item]) -> int:
    """How many items are the start, but not all, of what is wanted."""
    num = sum(itertools.takewhile(bool, map(operator.eq, items, wanted)))
    return num if num < len(wanted) else 0


def _likeness(first: frozenset, second: frozenset) -> tuple[int, int]:
    """How alike two sums are: their windows first, then their widths too."""
    ops = [list(itertools.chain(*paths)) for paths in (first, second)]
    windows = [[(op.name, op.kernel_size) for op in row] for row in ops]
    return tuple(
        2 * (collections.Counter(x) & collections.Counter(y)).total()
        - len(x)
        - len(y)
        for x, y in (windows, ops)
    )
