"""What the limits of a run allow of its networks.

Costs that have to be measured are measured once a network and remembered in the
working directory; of most networks they are only guessed, see `surrogates.py`.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence

from archcomp_tf.architecture import Architecture
from archcomp_tf.limits import (
    MEASURED,
    Costs,
    LimitError,
    Limits,
    excess,
    shares,
)
from archcomp_tf.objective import ROUNDING
from archcomp_tf.progress import Progress
from archcomp_tf.samples import initial_samples
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.surrogates import Surrogate
from archcomp_tf.workdir import WorkingDirectory

_LOGGER = logging.getLogger(__name__)

# For what costs are guessed from: more than it has numbers to fit.
NUM_MEASURED = 16
# Of networks that were brought as near to the limits as they come.
_NUM_TRIED = 4

_COSTS = "search/costs.json"  # those that were measured


class Allowance:
    """Limits, and what networks of a space take of them.

    Args:
      limits: of the student; None where there are none: all is allowed.
      space: of the networks; their images and classes are its own.
      workdir: where costs are remembered.
      seed: of the networks that costs are guessed from.
    """

    def __init__(
        self,
        limits: Limits | None,
        space: SearchSpace,
        workdir: WorkingDirectory,
        seed: int,
    ):
        self._given = limits.given if limits else {}
        self._beside = limits.beside_objective if limits else {}
        self._space = space
        self._images = space.input_shape, space.num_classes
        self._workdir = workdir
        self._seed = seed

    def keeps(self, architecture: Architecture) -> bool:
        """Whether an untrained network keeps to the limits on its costs."""
        return all(share <= 1 for _, _, share in self._shares(architecture))

    def excess(self, architecture: Architecture) -> float:
        """The largest share that a network takes of a limit.

        Of those that the objective knows nothing of, and in a moment: costs
        that would have to be measured are guessed.
        """
        return self._guessed_excess(self._beside, architecture)

    def check(self) -> None:
        """Raises LimitError where no network of the space seems to keep all."""
        guessed = functools.partial(self._guessed_excess, self._given)
        tried = initial_samples(self._space, _NUM_TRIED, self._seed, guessed)
        # A guess may be too high.
        if min(map(guessed, tried)) > 1 and not any(map(self.keeps, tried)):
            found = "No network of the space was found that keeps to the limits"
            raise self._error(found, tried)

    def check_any(self, architectures: Sequence[Architecture]) -> None:
        """Raises LimitError where none of these networks keeps to the limits.

        Args:
          architectures: those that were labelled.
        """
        if not any(map(self.keeps, architectures)):
            num = len(architectures)
            found = f"None of {num} labelled networks keeps to the limits"
            raise self._error(found, architectures)

    def _error(
        self, found: str, architectures: Sequence[Architecture]
    ) -> LimitError:
        """With that of networks that break limits which breaks them least."""
        nearest = min(
            architectures,
            key=lambda a: max(share for _, _, share in self._shares(a)),
        )
        return LimitError(
            f"{found}. The nearest is {nearest.compact}: "
            f"{'; '.join(self.broken(nearest))}."
        )

    def broken(
        self, architecture: Architecture, accuracy_drop: float = 0.0
    ) -> list[str]:
        """The limits that a network breaks, each as a sentence.

        Args:
          architecture: the network.
          accuracy_drop: what it lost once it was trained, in [0, 1].
        """
        shares_of_all = self._shares(architecture)
        values = {n: cost for n, cost, share in shares_of_all if share > 1}
        allowed = self._given.get("max_accuracy_drop", math.inf)
        if accuracy_drop > allowed + ROUNDING:
            values["max_accuracy_drop"] = accuracy_drop
        return [
            f"{name} is {self._given[name]:,} and it has "
            + (f"{cost:,}" if isinstance(cost, int) else f"{cost:,.6g}")
            for name, cost in values.items()
        ]

    def _shares(
        self, architecture: Architecture
    ) -> Iterator[tuple[str, float, float]]:
        """What it takes of each limit, measured where that is needed."""
        return shares(self._given, architecture, *self._images, self._measured)

    def _guessed_excess(
        self, given: Mapping[str, float], architecture: Architecture
    ) -> float:
        return excess(given, architecture, *self._images, self._surrogates)

    @functools.cached_property
    def _surrogates(self) -> Costs:
        """Limits on costs that are measured -> a guess of the cost."""
        if not self._measured:
            return {}
        _LOGGER.info(
            "%s: %d networks are measured, the others guessed from these",
            " and ".join(self._measured),
            NUM_MEASURED,
        )
        samples = initial_samples(self._space, NUM_MEASURED, self._seed)
        samples = [sample.compact for sample in samples]
        progress = Progress("measured", len(samples) * len(self._measured))

        def told(name, *network):
            cost = self._measured[name](*network)
            progress.advance(f"{name} {cost:.4g}")
            return cost

        return {
            name: Surrogate(
                functools.partial(told, name), samples, *self._images
            )
            for name in self._measured
        }

    @functools.cached_property
    def _measured(self) -> Costs:
        """Limits on costs that are measured -> what remembers each cost.

        Another measurement might break a limit that the first one kept.
        """
        known = self._workdir.read_json(_COSTS) or {}

        def measure(name, architecture, *images):
            costs = known.setdefault(name, {})
            if architecture.fingerprint not in costs:
                cost_of = MEASURED[name]
                costs[architecture.fingerprint] = cost_of(architecture, *images)
                self._workdir.write_json(_COSTS, known)
            return costs[architecture.fingerprint]

        return {
            name: functools.partial(measure, name)
            for name in MEASURED
            if name in self._given
        }
