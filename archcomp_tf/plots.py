"""Pictures of an embedding and of searches, as files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import matplotlib.figure
import numpy as np


def latent_map(
    path: str | os.PathLike,
    points: np.ndarray,
    colours: dict[str, np.ndarray],
    paths: np.ndarray,
) -> matplotlib.figure.Figure:
    """Draws the plane of an embedding's two main directions, and descents.

    Args:
      path: of the picture.
      points: `[N, 2]`, encodings, see `latent.on_plane`.
      colours: what to colour them by, name -> `[N]`; one panel each.
      paths: `[S, B, 2]`, those of B descents.

    Returns:
      What is drawn.
    """
    figure = matplotlib.figure.Figure((6 * len(colours), 5), layout="tight")
    for axes, (name, values) in zip(
        np.atleast_1d(figure.subplots(1, len(colours))),
        colours.items(),
        strict=True,
    ):
        dots = axes.scatter(*points.T, c=values, s=6, alpha=0.6)
        figure.colorbar(dots, label=name)
        axes.plot(paths[..., 0], paths[..., 1], color="black", linewidth=0.6)
        axes.plot(*paths[-1].T, "o", color="red", markersize=3)
        axes.set(
            xlabel="first principal component",
            ylabel="second principal component",
        )
    figure.savefig(path, dpi=100)
    return figure


def predicted_against_true(
    path: str | os.PathLike,
    panels: dict[str, tuple[Sequence[float], Sequence[float]]],
) -> matplotlib.figure.Figure:
    """Draws predictions over the truth, with the line where they agree.

    Args:
      path: of the picture.
      panels: name -> (true `[N]`, predicted `[N]`); one panel each.

    Returns:
      What is drawn.
    """
    figure = matplotlib.figure.Figure((5 * len(panels), 5), layout="tight")
    for axes, (name, (true, predicted)) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))),
        panels.items(),
        strict=True,
    ):
        axes.plot(true, predicted, ".", markersize=2)
        ends = [min(true), max(true)]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    figure.savefig(path, dpi=100)
    return figure


def regret_curves(
    path: str | os.PathLike,
    curves: dict[str, np.ndarray],
    label: str = "regret",
) -> matplotlib.figure.Figure:
    """Draws regret against labels: the mean, and a band of one deviation.

    Args:
      path: of the picture.
      curves: name of a method -> regrets `[seeds, labels]`.
      label: what is drawn, where it is no regret.

    Returns:
      What is drawn.
    """
    figure = matplotlib.figure.Figure((7, 5), layout="tight")
    axes = figure.subplots()
    for name, regrets in curves.items():
        labels = np.arange(1, regrets.shape[1] + 1)
        mean = regrets.mean(axis=0)
        spread = regrets.std(axis=0, ddof=min(1, len(regrets) - 1))
        (line,) = axes.plot(labels, mean, label=name)
        axes.fill_between(
            labels,
            np.maximum(mean - spread, 0),
            mean + spread,
            alpha=0.12,
            color=line.get_color(),
        )
    axes.set_xlabel("labelled networks")
    axes.set_ylabel(label)
    axes.set_yscale("symlog", linthresh=1e-3)  # regrets of 0 are shown too
    axes.legend()
    figure.savefig(path)
    return figure
