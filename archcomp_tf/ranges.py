"""What makes no sense as an argument is named before anything is paid for."""

from __future__ import annotations

import math
import numbers
from typing import Any

# Keras takes up to 2**32 - 1, and some that are used are counted on from it.
MAX_SEED = 2**31 - 1


def plain_seed(seed: Any) -> int:
    """A seed as Python's int, which Keras wants: not one of NumPy's.

    Raises:
      ValueError: it is no whole number from 0 to `MAX_SEED`.
    """
    check_number("seed", seed, 0, MAX_SEED, whole=True)
    return int(seed)


def check_number(
    name: str,
    value: Any,
    least: float,
    most: float = math.inf,
    *,
    whole: bool = False,
    above: bool = False,
) -> None:
    """Raises ValueError for what is no finite number from `least` to `most`.

    Args:
      name: what the error calls it.
      value: the number.
      least: the smallest that is allowed.
      most: the largest.
      whole: whether it has to be a whole number.
      above: whether it has to be more than `least`.
    """
    kind = numbers.Integral if whole else numbers.Real
    if (
        isinstance(value, kind)
        and least <= value <= most
        and math.isfinite(value)
        and not (above and value == least)
    ):
        return
    if above:
        limits = f"above {least:.15g}"
        limits += f", at most {most:.15g}" * (most < math.inf)
    elif most < math.inf:
        limits = f"from {least:.15g} to {most:.15g}"
    else:
        limits = f"of at least {least:.15g}"
    what = f"{name}, a whole number," if whole else f"a {name}"
    raise ValueError(f"Expected {what} {limits}; got {value!r}.")


def check_callable(name: str, value: Any) -> None:
    """Raises TypeError for what is no function.

    Args:
      name: what the error calls it.
      value: what was given.
    """
    if not callable(value):
        raise TypeError(f"Expected a function as {name}; got {value!r}.")
