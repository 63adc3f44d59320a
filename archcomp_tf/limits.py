"""What a student must keep to, in the words of the person who needs it.

A limit on what may be lost is a part of the objective.  The others are costs of
an architecture, counted or measured before it is trained: a search proposes
nothing that breaks them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.layer import Shape
from archcomp_tf.litert import file_bytes
from archcomp_tf.measurement import latency_ms
from archcomp_tf.objective import Budget, Objective, Tolerance

# Name of a limit -> the cost of (architecture, input_shape, num_classes).
Costs = Mapping[str, Callable[[Architecture, Shape, int], float]]


def _file_bytes(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    return file_bytes(build(architecture, input_shape, num_classes))


def _latency_ms(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> float:
    return latency_ms(build(architecture, input_shape, num_classes))


_COUNTED: Costs = {
    "max_params": cost.num_params,
    "max_flops": cost.num_flops,
    "max_ram_bytes": cost.peak_activations,  # of a byte each
}
# In seconds each: the network is built and converted.
MEASURED: Costs = {
    "max_file_bytes": _file_bytes,
    "max_latency_ms": _latency_ms,
}


class LimitError(RuntimeError):
    """No network that was found keeps to the limits."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a student; None where there is none.

    Attributes:
      max_params: number of weights.
      max_flops: floating-point operations for one image.
      max_ram_bytes: of what its int8 LiteRT file holds of an image at once, see
        `cost.peak_activations`; a runtime needs some kilobytes besides.
      max_file_bytes: of its int8 LiteRT file.  Neither counts layers in front
        that do more to an image than to bring it to [0, 1].
      max_latency_ms: of one image through its float32 LiteRT file, on one
        core of this machine.
      max_accuracy_drop: validation accuracy, in [0, 1], that it may lose.

    Raises:
      ValueError: there is no limit at all, or one is not positive.
    """

    max_params: int | None = None
    max_flops: int | None = None
    max_ram_bytes: int | None = None
    max_file_bytes: int | None = None
    max_latency_ms: float | None = None
    max_accuracy_drop: float | None = None

    def __post_init__(self):
        if not self.given:
            names = ", ".join(f.name for f in dataclasses.fields(self))
            raise ValueError(f"Expected at least one limit of {names}.")
        for name, value in self.given.items():
            # As JSON has them, of shares of a number and of NumPy's numbers.
            whole = name not in ("max_latency_ms", "max_accuracy_drop")
            try:
                plain = int(value) if whole else float(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(
                    f"Expected {name} to be a number; got {value!r}."
                ) from error
            object.__setattr__(self, name, plain)
            if not plain > 0 or (name == "max_accuracy_drop" and plain >= 1):
                expected = "in (0, 1)" if name == "max_accuracy_drop" else "> 0"
                raise ValueError(f"Expected {name} {expected}; got {value!r}.")

    @property
    def given(self) -> dict[str, Any]:
        """The limits that there are, by name."""
        values = dataclasses.asdict(self)
        return {k: v for k, v in values.items() if v is not None}

    def objective(
        self, reference_accuracy: float, reference_params: int
    ) -> Objective:
        """What to look for among the networks that keep to the limits.

        With a limit on what may be lost it is the smallest network, without
        one the most accurate.

        Args:
          reference_accuracy: the teacher's, in [0, 1].
          reference_params: the teacher's number of weights.
        """
        if self.max_accuracy_drop is not None:
            return Tolerance(self.max_accuracy_drop, reference_accuracy)
        # An int8 file has more than a byte for a weight.
        sizes = (self.max_params, self.max_file_bytes, reference_params)
        return Budget(min(size for size in sizes if size is not None))

    @property
    def beside_objective(self) -> dict[str, Any]:
        """Those that `objective` does not know of, by name."""
        known = "max_accuracy_drop" if self.max_accuracy_drop else "max_params"
        return {k: v for k, v in self.given.items() if k != known}


def shares(
    limits: Mapping[str, float],
    architecture: Architecture,
    input_shape: Shape,
    num_classes: int,
    measured: Costs = MEASURED,
) -> Iterator[tuple[str, float, float]]:
    """What an untrained network takes of limits on its costs.

    What is counted comes before what has to be built and measured.

    Args:
      limits: some of those of a `Limits`, by name.
      architecture: the network.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.
      measured: functions of the costs that take seconds, such as ones that
        remember or guess (`surrogates.Surrogate`); limits on costs that are
        not in here are ignored.

    Yields:
      The name of a limit, the cost, and its share of the limit.
    """
    for name, cost_of in {**_COUNTED, **measured}.items():
        if name in limits:
            value = cost_of(architecture.compact, input_shape, num_classes)
            yield name, value, value / limits[name]


def excess(limits: Mapping[str, float], *arguments: Any) -> float:
    """The largest of the `shares`, whose arguments these are; 0 of none."""
    return max((s for _, _, s in shares(limits, *arguments)), default=0.0)
