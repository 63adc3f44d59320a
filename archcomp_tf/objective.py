"""What a compression is after: accuracy and parameters -> one number.

Each objective has two forms.  Called, `objective(accuracy, num_params)`, it
ranks labelled networks: higher is better.  `relaxed` is its differentiable
form for the descent, of tensors `[B]`: accuracies in [0, 1], log10 parameters
and then the objective's fields by their names, which come in as arguments so
that one compiled descent serves every weight; it gives `[B]`.  One of a
person's own is a dataclass, its fields numbers, with both: `__call__`, and
`relaxed` as a staticmethod.

A number that makes no sense, such as an accuracy in percent, is a ValueError
where the objective is made: before a label is paid for.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras

from archcomp_tf.backend import compiled, value_and_grad
from archcomp_tf.ranges import check_number

# What the relaxed forms lose where a limit is broken.  A missing point of
# accuracy outweighs a tenfold reduction; ten times too many parameters outweigh
# all the accuracy that there is.  Were that steeper, a descent would turn back
# from the limit at each step in place of following it, see results/README.md.
_PENALTY_PER_ACCURACY = 100.0
_PENALTY_PER_DECADE = 1.0
# A loss of exactly the limit keeps it, whatever the last bit of a float32 says.
ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class LogParams:
    """Accuracy minus `weight` times log10 parameters.

    Attributes:
      weight: accuracy, in [0, 1], that a tenfold reduction may cost.
    """

    weight: float = 0.05

    def __post_init__(self):
        check_number("weight", self.weight, 0)

    def __call__(self, accuracy: float, num_params: int) -> float:
        return accuracy - self.weight * math.log10(num_params)

    @staticmethod
    def relaxed(accuracy, log_params, weight):
        return accuracy - weight * log_params


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The smallest network that loses at most `max_drop` of accuracy.

    Attributes:
      max_drop: of accuracy, in [0, 1].
      reference_accuracy: what it is lost from, in [0, 1].
    """

    max_drop: float
    reference_accuracy: float

    def __post_init__(self):
        check_number("max_drop", self.max_drop, 0, 1)
        check_number("reference_accuracy", self.reference_accuracy, 0, 1)

    def __call__(self, accuracy: float, num_params: int) -> float:
        missing = self.reference_accuracy - self.max_drop - accuracy
        if not missing <= ROUNDING:  # below any network that keeps the limit
            return -100.0 - missing
        return -math.log10(num_params)

    @staticmethod
    def relaxed(accuracy, log_params, max_drop, reference_accuracy):
        missing = keras.ops.relu(reference_accuracy - max_drop - accuracy)
        return -log_params - _PENALTY_PER_ACCURACY * missing


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most accurate network with at most `max_params` parameters.

    Attributes:
      max_params: the largest number of weights allowed.
    """

    max_params: int

    def __post_init__(self):
        check_number("max_params", self.max_params, 1)

    def __call__(self, accuracy: float, num_params: int) -> float:
        if num_params > self.max_params:  # below any network that keeps it
            return -math.log10(num_params / self.max_params)
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params, max_params):
        excess = keras.ops.relu(log_params - keras.ops.log10(max_params))
        return accuracy - _PENALTY_PER_DECADE * excess


@dataclasses.dataclass(frozen=True)
class N2NReward:
    """C (2 - C) A / A_teacher, with C = 1 - parameters / teacher's parameters.

    The reward of Ashok et al., "N2N Learning", arXiv 1709.06030.  It
    saturates: at equal accuracy, 10 times smaller scores 0.990 and 20 times
    smaller 0.9975.  Of networks larger than the teacher, whose C is negative,
    theirs would have the least accurate first: here it is C (2 - C) (2 - A).

    Attributes:
      reference_accuracy: A_teacher, in (0, 1].
      reference_params: the teacher's number of weights.
    """

    reference_accuracy: float
    reference_params: int

    def __post_init__(self):
        check_number(
            "reference_accuracy", self.reference_accuracy, 0, 1, above=True
        )
        check_number("reference_params", self.reference_params, 1)

    def __call__(self, accuracy: float, num_params: int) -> float:
        compression = 1 - num_params / self.reference_params
        reward = compression * (2 - compression)
        if reward > 0:
            return reward * accuracy / self.reference_accuracy
        return reward * (2 - accuracy)

    @staticmethod
    def relaxed(accuracy, log_params, reference_accuracy, reference_params):
        compression = 1 - keras.ops.power(10.0, log_params) / reference_params
        reward = compression * (2 - compression)
        return reward * keras.ops.where(
            reward > 0, accuracy / reference_accuracy, 2 - accuracy
        )


Objective = LogParams | Tolerance | Budget | N2NReward


@functools.cache  # each further search traces nothing
def _gradient(objective_type: type[Objective]) -> Callable:
    """(points `[B, 2]`, fields) -> ((sum, values), gradient), compiled."""

    def promised(points, fields):
        value = objective_type.relaxed(points[:, 0], points[:, 1], **fields)
        return keras.ops.sum(value), value

    return compiled(value_and_grad(promised))


def check_objective(objective: Any) -> None:
    """Raises TypeError for what has not the two forms of an objective.

    Both are tried, as a search uses them: before a label is paid for.
    """
    if (
        isinstance(objective, type)
        or not dataclasses.is_dataclass(objective)
        or not callable(objective)
        or not hasattr(objective, "relaxed")
    ):
        raise TypeError(
            "Expected an objective: LogParams, Tolerance, Budget, N2NReward or "
            "a dataclass of one's own that is called like them and has "
            f"`relaxed`; got {objective!r}."
        )
    name = type(objective).__name__
    for accuracy in (0.0, 0.5, 1.0):
        try:
            value = float(objective(accuracy, 1_000))
        except Exception as error:  # whatever a person's own may raise
            raise TypeError(
                f"{name} cannot be called with an accuracy and a number of "
                f"parameters, ({accuracy}, 1000); got {type(error).__name__}: "
                f"{error}"
            ) from error
        if not math.isfinite(value):
            raise TypeError(
                f"Expected {name} of an accuracy of {accuracy} and 1000 "
                f"parameters to be finite; got {value}."
            )

    try:
        points = keras.ops.ones((2, 2), "float32")
        fields = {
            field.name: keras.ops.full(
                (2,), getattr(objective, field.name), "float32"
            )
            for field in dataclasses.fields(objective)
        }
        (_, value), gradient = _gradient(type(objective))(points, fields)
    except Exception as error:
        raise TypeError(
            f"{name}.relaxed cannot be descended; expected a staticmethod of "
            "tensors [B], differentiable and named as its fields are, that "
            f"gives [B], see `objective.py`; got {type(error).__name__}: "
            f"{error}"
        ) from error
    if tuple(value.shape) != (2,):
        raise TypeError(
            f"Expected {name}.relaxed to give a number for each of 2 points; "
            f"got shape {tuple(value.shape)}."
        )
    if gradient is None:
        raise TypeError(
            f"Expected {name}.relaxed to have a gradient; got none, such as "
            "rounding has none."
        )
