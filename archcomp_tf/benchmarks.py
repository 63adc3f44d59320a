"""Accuracies that cost no training: a table of trained networks, a formula.

Each benchmark has `evaluate` and `count_params` as `compression.search` takes
them.
"""

from __future__ import annotations

import csv
import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import whole_params
from archcomp_tf.layer import Layer
from archcomp_tf.objective import Objective
from archcomp_tf.search_space import SearchSpace

_COLUMNS = ("architecture", "accuracy", "params")
_ENCODING = "utf-8-sig"  # with a byte order mark or without, as Excel writes
_NUM_CLIMBS = 24  # from as many samples


class TabularBenchmark:
    """The accuracies of all members of a space, found by training them.

    Args:
      space: the space.
      accuracies: member -> the accuracies, in [0, 1], of its trainings.
      num_params: member -> its parameters.

    Attributes:
      space: the same.
      architectures: the members, in the order of the table.

    Raises:
      ValueError: the table has not all members, or others.
    """

    def __init__(
        self,
        space: SearchSpace,
        accuracies: Mapping[Architecture, Sequence[float]],
        num_params: Mapping[Architecture, int],
    ):
        for architecture in accuracies:
            space.validate(architecture)
        if len(accuracies) < space.num_members:
            missing = next(a for a in space.members if a not in accuracies)
            raise ValueError(
                f"Expected a table of the {space.num_members} members of the "
                f"space; got {len(accuracies)}, not {missing} among them."
            )
        self.space = space
        self.architectures = list(accuracies)
        self._accuracies = dict(accuracies)
        self._num_params = dict(num_params)

    @classmethod
    def from_csv(
        cls, path: str | os.PathLike, space: SearchSpace | None = None
    ) -> TabularBenchmark:
        """Reads a table with a row for each member of a space.

        Args:
          path: a CSV file with the columns "architecture" (the text form),
            "accuracy" (in [0, 1]) and "params"; a member with several rows was
            trained several times.
          space: whose members the table holds; by default the smallest space
            that holds all of them.

        Raises:
          ValueError: a column or a member is missing, or a row is not read.
        """
        accuracies: dict[Architecture, list[float]] = {}
        num_params = {}
        for number, row in enumerate(_rows(path, _COLUMNS), 2):
            try:
                architecture = Architecture.parse(row["architecture"])
                accuracy = float(row["accuracy"])
                if not 0 <= accuracy <= 1:
                    raise ValueError(f"accuracy {accuracy} is not in [0, 1]")
                size = whole_params(float(row["params"]))
                if size != num_params.setdefault(architecture, size):
                    raise ValueError(
                        f"{size} parameters, where a line before has "
                        f"{num_params[architecture]}"
                    )
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            accuracies.setdefault(architecture, []).append(accuracy)
        try:
            space = space or SearchSpace.spanning(list(accuracies))
            return cls(space, accuracies, num_params)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def accuracy(self, architecture: Architecture) -> float:
        """Accuracy in [0, 1], the mean of the table's trainings."""
        return float(np.mean(self._accuracies[architecture]))

    def evaluate(self, architectures: Sequence[Architecture]) -> list[float]:
        """The mean accuracies as labels."""
        return [self.accuracy(architecture) for architecture in architectures]

    def single_trainings(
        self, seed: int
    ) -> Callable[[Sequence[Architecture]], list[float]]:
        """An `evaluate` that gives one training of each, drawn by the seed."""

        def evaluate(architectures: Sequence[Architecture]) -> list[float]:
            labels = []
            for architecture in architectures:
                key = [seed, int(architecture.fingerprint, 16)]
                trainings = self._accuracies[architecture]
                place = np.random.default_rng(key).integers(len(trainings))
                labels.append(trainings[place])
            return labels

        return evaluate

    def count_params(self, architecture: Architecture) -> int:
        """Parameters of the network that the table is about."""
        return self._num_params[architecture]


class NasBenchMacro(TabularBenchmark):
    """All 6,561 networks of NAS-Bench-Macro, trained three times on CIFAR-10.

    Eight slots, in each of which stands an identity (0), an inverted residual
    of window 3 and expansion 3 (1), or one of window 5 and expansion 6 (2).
    Here the window alone tells them apart, 1, 3 and 5: a space is a product,
    and a slot's identity may change the size of the maps, so that it is not
    our `identity`.  Source: Su et al., "Prioritized Architecture Sampling with
    Monto-Carlo Tree Search", arXiv 2103.11922.

    Args:
      path: a CSV file with the columns "arch" (eight digits), "acc0", "acc1",
        "acc2" (in percent) and "params".

    Raises:
      ValueError: the file has not all members, or other columns.
    """

    _WINDOWS = {"0": 1, "1": 3, "2": 5}
    _TRAININGS = ("acc0", "acc1", "acc2")

    def __init__(self, path: str | os.PathLike):
        space = SearchSpace.uniform(
            num_slots=8,
            kinds=("inverted_residual",),
            kernel_sizes=tuple(self._WINDOWS.values()),
            filters=(64,),
            expansions=(3,),
        )
        accuracies, num_params = {}, {}
        for row in _rows(path, ("arch", *self._TRAININGS, "params")):
            architecture = self._architecture(row["arch"])
            accuracies[architecture] = [
                float(row[column]) / 100 for column in self._TRAININGS
            ]
            num_params[architecture] = int(row["params"])
        super().__init__(space, accuracies, num_params)

    def _architecture(self, digits: str) -> Architecture:
        return Architecture(
            tuple(
                Layer("inverted_residual", 64, self._WINDOWS[digit], 1, 3)
                for digit in digits
            )
        )


def read_benchmark(path: str | os.PathLike) -> TabularBenchmark:
    """NAS-Bench-Macro, if a file has its columns; else a table of any space."""
    with open(path, encoding=_ENCODING, newline="") as file:
        columns = next(csv.reader(file), [])
    return (
        NasBenchMacro(path)
        if "arch" in columns
        else TabularBenchmark.from_csv(path)
    )


def _rows(
    path: str | os.PathLike, columns: Sequence[str]
) -> list[dict[str, str]]:
    """The rows of a CSV file that must have these columns."""
    with open(path, encoding=_ENCODING, newline="") as file:
        reader = csv.DictReader(file)
        present = reader.fieldnames or []
        if missing := [c for c in columns if c not in present]:
            raise ValueError(
                f"{path}: expected the columns {', '.join(columns)}; got "
                f"{', '.join(present)}, without {', '.join(missing)}."
            )
        rows = list(reader)
    if not rows:
        raise ValueError(f"{path}: expected a row for each network; got none.")
    for number, row in enumerate(rows, 2):
        if None in row.values():
            raise ValueError(
                f"{path}, line {number}: expected {len(present)} columns; got "
                "fewer."
            )
    return rows


class SyntheticBenchmark:
    """A formula for the accuracy of any member of a space around a teacher.

    Not a model of any data set: a smooth function in which, as in real
    networks, returns diminish, cheap kinds of layer are nearly as good as
    expensive ones, and a narrow layer chokes those behind it.  The slots
    between two strides are a stage; with r the share of the widest choice that
    a layer is wide,

        capacity = sum over layers of kind * window * sqrt(min(r, 2 r_before))
        accuracy = 0.95 - mean over the stages of 0.85 exp(-4 capacity / full)

    where `full` is the capacity of the stage's layers at their widest.

    Args:
      space: the space.
      noise: standard deviation of a label around the formula; the same
        network always gets the same label.
      seed: of the noise.
    """

    _KINDS = {
        "conv": 1.0,
        "separable_conv": 0.8,
        "residual": 1.5,
        "bottleneck": 1.5,
        "inverted_residual": 1.2,
    }

    def __init__(self, space: SearchSpace, noise: float = 0.0, seed: int = 0):
        self.space = space
        self._noise = noise
        self._seed = seed
        self._widest = [max(slot.filters, default=0) for slot in space.slots]
        self._full = [
            sum(
                max(self._KINDS.get(kind, 0.0) for kind in slot.kinds)
                for slot in stage
            )
            for stage in self._stages(space.slots)
        ]

    def accuracy(self, architecture: Architecture) -> float:
        """The formula, in [0.1, 0.95]."""
        before, strengths = 1.0, []
        for layer, widest in zip(
            architecture.layers, self._widest, strict=True
        ):
            if layer.kind not in self._KINDS:
                strengths.append(0.0)
                continue
            share = layer.filters / widest
            window = 1.0 if layer.kernel_size > 1 else 0.5
            strengths.append(
                self._KINDS[layer.kind]
                * window
                * math.sqrt(min(share, 2 * before))
            )
            before = share
        pairs = zip(self._stages(strengths), self._full, strict=True)
        lost = [math.exp(-4 * sum(stage) / full) for stage, full in pairs]
        return 0.95 - 0.85 * sum(lost) / len(lost)

    def evaluate(self, architectures: Sequence[Architecture]) -> list[float]:
        """Labels: the formula, and the noise of each network."""
        return [
            self.accuracy(architecture) + self._noise_of(architecture)
            for architecture in architectures
        ]

    def count_params(self, architecture: Architecture) -> int:
        """Exact parameters, for the space's images and classes."""
        return self.space.count_params(architecture)

    def _stages(self, values: Sequence) -> list[list]:
        """Values of the slots with layers, cut before each stride."""
        stages = [[]]
        for slot, value in zip(self.space.slots, values, strict=True):
            if max(slot.strides) > 1:
                stages.append([])
            if set(slot.kinds) & set(self._KINDS):
                stages[-1].append(value)
        return [stage for stage in stages if stage]

    def _noise_of(self, architecture: Architecture) -> float:
        seed = [self._seed, int(architecture.fingerprint, 16)]
        return np.random.default_rng(seed).normal(0, self._noise)


@functools.cache
def highest_objective(
    benchmark: TabularBenchmark | SyntheticBenchmark,
    objective: Objective,
) -> float:
    """The highest true objective of a benchmark's space.

    Of a table it is exact.  Of a formula it is the best that climbs from
    samples find which try every choice of every slot until none is better;
    that most climbs end there says that it is the optimum.

    Args:
      benchmark: the truth about accuracies and parameters.
      objective: what is sought.
    """

    def value(architecture: Architecture) -> float:
        return objective(
            benchmark.accuracy(architecture),
            benchmark.count_params(architecture),
        )

    if isinstance(benchmark, TabularBenchmark):
        return max(map(value, benchmark.architectures))
    rng = np.random.default_rng(0)
    space = benchmark.space
    return max(
        _climb(space, value, space.sample(rng)) for _ in range(_NUM_CLIMBS)
    )


def _climb(
    space: SearchSpace,
    value: Callable[[Architecture], float],
    start: Architecture,
) -> float:
    """The value at which no other choice of one slot is better."""
    best, reached, before = start, value(start), -math.inf
    while reached > before:
        before = reached
        for index, slot in enumerate(space.slots):
            for layer in slot.layers:
                layers = list(best.layers)
                layers[index] = layer
                other = Architecture(tuple(layers))
                if (found := value(other)) > reached:
                    best, reached = other, found
    return reached
