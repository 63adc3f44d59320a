"""Tests of the pictures."""

import matplotlib.image
import numpy as np

from archcomp_tf.plots import latent_map, predicted_against_true, regret_curves


def test_a_latent_map_has_a_panel_a_colour_and_the_paths_in_it(tmp_path):
    points = np.random.default_rng(0).normal(size=(2000, 2))
    colours = {"accuracy": points[:, 0], "log10 parameters": points[:, 1]}
    descents = points[None, :4] + np.linspace(0, 3, 5)[:, None, None]
    figure = latent_map(tmp_path / "map.png", points, colours, descents)
    panels, bars = figure.axes[:2], figure.axes[2:]
    assert [bar.get_ylabel() for bar in bars] == list(colours)
    for axes, values in zip(panels, colours.values(), strict=True):
        (dots,) = axes.collections
        np.testing.assert_array_equal(dots.get_array(), values)
        *paths, ends = [line.get_xydata() for line in axes.lines]
        assert len(paths) == 4
        np.testing.assert_array_equal(ends, [path[-1] for path in paths])
        np.testing.assert_array_equal(dots.get_offsets(), points)
        np.testing.assert_array_equal(paths[1], descents[:, 1])
    assert matplotlib.image.imread(tmp_path / "map.png").shape[:2] == (
        500,
        1200,
    )


def test_predictions_are_drawn_over_the_truth(tmp_path):
    panels = {
        "accuracy": ([0.5, 0.9, 0.7], [0.6, 0.8, 0.7]),
        "size": ([3, 4, 5], [5, 4, 3]),
    }
    figure = predicted_against_true(tmp_path / "panels.png", panels)
    for axes, name in zip(figure.axes, panels, strict=True):
        true, predicted = panels[name]
        dots, agreement = (line.get_xydata() for line in axes.lines)
        np.testing.assert_array_equal(dots, np.transpose([true, predicted]))
        least, most = min(true), max(true)
        np.testing.assert_array_equal(agreement, [[least] * 2, [most] * 2])
        assert axes.get_xlabel() == f"true {name}"
        assert axes.get_ylabel() == f"predicted {name}"
    picture = matplotlib.image.imread(tmp_path / "panels.png")
    assert picture.shape[:2] == (500, 1000)


def test_regrets_are_drawn_a_line_a_method(tmp_path):
    curves = {
        "one": np.array([[0.4, 0.2, 0.0], [0.2, 0.2, 0.0]]),
        "other": np.array([[0.3, 0.1]]),
    }
    figure = regret_curves(tmp_path / "regret.png", curves)
    (axes,) = figure.axes
    one, other = (line.get_xydata() for line in axes.lines)
    np.testing.assert_allclose(one, [[1, 0.3], [2, 0.2], [3, 0]])
    np.testing.assert_allclose(other, [[1, 0.3], [2, 0.1]])
    assert [text.get_text() for text in axes.get_legend().texts] == list(curves)
    band = axes.collections[0].get_paths()[0].vertices
    at_first = band[band[:, 0] == 1][:, 1]
    spread = np.std([0.2, 0.4], ddof=1)
    np.testing.assert_allclose(
        [at_first.min(), at_first.max()], [0.3 - spread, 0.3 + spread]
    )
    assert matplotlib.image.imread(tmp_path / "regret.png").std() > 0.05
