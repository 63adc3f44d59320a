"""Accuracies that cost no training: a table of trained networks, a formula.

Each oracle has `evaluate` and `count_params` as `compression.search` takes
them.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence

import numpy as np

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import Layer
from archcomp_tf.search_space import SearchSpace


class NasBenchMacro:
    """All 6,561 networks of NAS-Bench-Macro, trained on CIFAR-10.

    Eight slots, in each of which stands an identity (0), an inverted residual
    of window 3 and expansion 3 (1), or one of window 5 and expansion 6 (2).
    Here the window alone tells them apart, 1, 3 and 5: a space is a product,
    and a slot's identity may change the size of the maps, so that it is not
    our `identity`.  Source: Su et al., "Prioritized Architecture Sampling with
    Monto-Carlo Tree Search", arXiv 2103.11922.

    Args:
      path: a CSV file with the columns "arch" (eight digits), "mean_acc" (in
        percent) and "params".

    Attributes:
      space: the 6,561 members.
      architectures: the members in the order of the table.

    Raises:
      ValueError: the file has not all members, or other columns.
    """

    _WINDOWS = {"0": 1, "1": 3, "2": 5}

    def __init__(self, path: str | os.PathLike):
        self.space = SearchSpace.uniform(
            num_slots=8,
            kinds=("inverted_residual",),
            kernel_sizes=tuple(self._WINDOWS.values()),
            filters=(64,),
            expansions=(3,),
        )
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            self._rows = {
                self._architecture(row["arch"]): (
                    float(row["mean_acc"]) / 100,
                    int(row["params"]),
                )
                for row in rows
            }
        except KeyError as error:
            raise ValueError(
                f"{path}: expected the columns arch (digits 0, 1, 2), mean_acc "
                f"and params; got no {error} in {rows[0]}."
            ) from error
        if len(self._rows) != self.space.num_members:
            raise ValueError(
                f"{path}: expected {self.space.num_members} networks; got "
                f"{len(self._rows)}."
            )
        self.architectures = list(self._rows)

    def accuracy(self, architecture: Architecture) -> float:
        """Accuracy in [0, 1], the mean of the table's trainings."""
        return self._rows[architecture][0]

    def evaluate(self, architectures: Sequence[Architecture]) -> list[float]:
        """The accuracies as labels."""
        return [self.accuracy(architecture) for architecture in architectures]

    def count_params(self, architecture: Architecture) -> int:
        """Parameters of the network that the table is about."""
        return self._rows[architecture][1]

    def _architecture(self, digits: str) -> Architecture:
        return Architecture(
            tuple(
                Layer("inverted_residual", 64, self._WINDOWS[digit], 1, 3)
                for digit in digits
            )
        )


class CapacityOracle:
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
            sum(max(self._KINDS[kind] for kind in slot.kinds) for slot in stage)
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
        return cost.num_params(
            architecture, self.space.input_shape, self.space.num_classes
        )

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
