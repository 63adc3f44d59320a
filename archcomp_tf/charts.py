"""Charts as inline SVG, for pages that open with no network and no script.

Colours are left to the page: a mark has a style, which is the name of its CSS
class, so that one chart is right in light and in dark.  What a mark stands for
is its `<title>`, which browsers show under the pointer.

Only the standard library is needed here.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Iterable, Sequence

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 18, 34, 66  # room beside the frame
_FEWEST_TICKS, _MOST_TICKS = 3, 9

_SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "square": "M-6-6h12v12h-12z",
    "diamond": "M0-8L8 0L0 8L-8 0z",
    "triangle": "M0-8L8 6H-8z",
    "wedge": "M0 8L8-6H-8z",
    "star": "M0-11L2.6-3.5L10.5-3.4L4.2 1.4L6.5 8.9L0 4.4L-6.5 8.9L-4.2 1.4"
    "L-10.5-3.4L-2.6-3.5z",
}


@dataclasses.dataclass(frozen=True)
class Mark:
    """A point of a chart.

    Attributes:
      x: in the axis's own units.
      y: the same.
      text: shown under the pointer.
      style: CSS classes.
      shape: a key of `_SHAPES`.
    """

    x: float
    y: float
    text: str
    style: str
    shape: str = "circle"


@dataclasses.dataclass(frozen=True)
class Line:
    """A line through points.

    Attributes:
      points: (x, y), in the axes' units.
      style: CSS classes.
    """

    points: Sequence[tuple[float, float]]
    style: str


@dataclasses.dataclass(frozen=True)
class Scale:
    """How values are spread along an axis.

    Attributes:
      forward: value -> distance along the axis.
      inverse: of `forward`.
      text: value -> text of a tick.
      ticks: values to name, wherever the axis runs: all that are nice, and
        fewer of them, for a long axis.
    """

    forward: Callable[[float], float]
    inverse: Callable[[float], float]
    text: Callable[[float], str]
    ticks: tuple[Sequence[float], ...] = ()


def count_text(value: float) -> str:
    """A number of things in three digits, such as 950, 1.2k, 36k, 1.57M."""
    value = float(f"{value:.3g}")
    thousands = int(math.log10(value) / 3 + 1e-9) if value >= 1000 else 0
    return f"{value / 1000**thousands:.3g}{' kMGT'[thousands].strip()}"


_POWERS = [10.0**power for power in range(-6, 13)]
_NICE = [step * power for power in _POWERS for step in (1, 2, 5)]

LINEAR = Scale(float, float, "{:.6g}".format)
LOG = Scale(math.log10, lambda place: 10**place, count_text, (_NICE, _POWERS))


def _accuracy_scale(least_error: float) -> Scale:
    """By the logarithm of the error: 98 to 99 is as far as 80 to 90 percent.

    Args:
      least_error: the smallest above 0.  No error at all would be infinitely
        far away: it stands where half of this does.
    """
    # Rounded: 1 - 0.99 is a little more than 0.01.
    ticks = [
        [1.0] + [1 - e for e in errors if round(least_error, 9) <= e < 1]
        for errors in (_NICE, _POWERS)
    ]
    return Scale(
        lambda share: -math.log10(max(1 - share, least_error / 2)),
        lambda place: 1 - 10**-place,
        lambda share: f"{100 * share:.6g}%",
        tuple(ticks),
    )


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
      label: what is measured, with its unit.
      start: where it begins, as a distance by `scale.forward`.
      end: where it ends.
      scale: how values are spread.
    """

    label: str
    start: float
    end: float
    scale: Scale = LINEAR

    @classmethod
    def around(
        cls, label: str, values: Iterable[float], scale: Scale = LINEAR
    ) -> Axis:
        """An axis that holds all values, with some room at both ends."""
        places = [scale.forward(value) for value in values]
        start, end = min(places), max(places)
        # Values that differ by rounding alone are one value.
        is_one = math.isclose(start, end, rel_tol=1e-9, abs_tol=1e-9)
        room = 0.5 if is_one else 0.06 * (end - start)
        return cls(label, start - room, end + room, scale)

    @classmethod
    def of_accuracies(cls, label: str, values: Iterable[float]) -> Axis:
        """An axis of values in [0, 1], spread by the logarithm of the error."""
        values = list(values)
        errors = [1 - value for value in values if value < 1]
        return cls.around(
            label, values, _accuracy_scale(min(errors, default=0.1))
        )

    @property
    def ends(self) -> tuple[float, float]:
        """The values at both ends."""
        return self.scale.inverse(self.start), self.scale.inverse(self.end)

    def place(self, value: float) -> float:
        """Where a value stands: 0 at the start, 1 at the end."""
        distance = self.scale.forward(value) - self.start
        return min(max(distance / (self.end - self.start), 0.0), 1.0)

    @property
    def ticks(self) -> list[float]:
        """A few values to name, in order."""
        for values in self.scale.ticks:
            seen = [
                value
                for value in values
                if self.start <= self.scale.forward(value) <= self.end
            ]
            if _FEWEST_TICKS <= len(seen) <= _MOST_TICKS:
                return sorted(seen)
        # Too short an axis for any of those, or one that has none.
        low, high = self.ends
        step = next(n for n in _NICE if (high - low) / n <= 6)
        first, last = math.ceil(low / step), math.floor(high / step)
        return [step * index for index in range(first, last + 1)]


def scatter(
    marks: Sequence[Mark],
    x: Axis,
    y: Axis,
    *,
    description: str,
    lines: Sequence[Line] = (),
    with_ticks: bool = True,
) -> str:
    """A chart of marks over lines.

    Args:
      marks: the later ones lie above.
      x: the axis to the right.
      y: the axis upward.
      description: what is seen, for those who do not see it.
      lines: below the marks.
      with_ticks: whether the axes have numbers.

    Returns:
      An `<svg>` element.
    """

    def place(px: float, py: float) -> tuple[float, float]:
        return (
            _LEFT + x.place(px) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y.place(py) * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(description)}">'
    ]
    parts += _frame(x, y, with_ticks)
    for line in lines:
        points = " ".join(
            f"{px:.1f},{py:.1f}" for px, py in (place(*p) for p in line.points)
        )
        parts.append(f'<polyline class="{line.style}" points="{points}"/>')
    for mark in marks:
        px, py = place(mark.x, mark.y)
        parts.append(
            f'<g class="mark {mark.style}" '
            f'transform="translate({px:.1f} {py:.1f})">'
            f"<title>{html.escape(mark.text)}</title>"
            f'<path d="{_SHAPES[mark.shape]}"/></g>'
        )
    return "\n".join([*parts, "</svg>"])


def _frame(x: Axis, y: Axis, with_ticks: bool) -> list[str]:
    """Grid, ticks and labels."""
    left, right = _LEFT, _WIDTH - _RIGHT
    top, bottom = _TOP, _HEIGHT - _BOTTOM
    parts = [
        f'<path class="frame" d="M{left} {top}V{bottom}H{right}"/>',
        f'<text x="{(left + right) / 2}" y="{_HEIGHT - 10}" '
        f'text-anchor="middle">{html.escape(x.label)}</text>',
        f'<text x="0" y="16">{html.escape(y.label)}</text>',
    ]
    if not with_ticks:
        return parts
    for tick in x.ticks:
        px = left + x.place(tick) * (right - left)
        parts.append(
            f'<path class="grid" d="M{px:.1f} {top}V{bottom}"/>'
            f'<text x="{px:.1f}" y="{bottom + 24}" text-anchor="middle">'
            f"{x.scale.text(tick)}</text>"
        )
    for tick in y.ticks:
        py = bottom - y.place(tick) * (bottom - top)
        parts.append(
            f'<path class="grid" d="M{left} {py:.1f}H{right}"/>'
            f'<text x="{left - 8}" y="{py + 4.5:.1f}" text-anchor="end">'
            f"{y.scale.text(tick)}</text>"
        )
    return parts


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """A list of (name, style, shape), each with its mark."""
    items = (
        '<li><svg viewBox="-12 -12 24 24" aria-hidden="true">'
        f'<g class="mark {style}"><path d="{_SHAPES[shape]}"/></g></svg>'
        f"{html.escape(name)}</li>"
        for name, style, shape in entries
    )
    return f'<ul class="legend">{"".join(items)}</ul>'
