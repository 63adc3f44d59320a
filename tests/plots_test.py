"""Tests of the pictures."""

import matplotlib.image
import numpy as np

from archcomp_tf.plots import latent_map, predicted_against_true, regret_curves


def _picture(path):
    return matplotlib.image.imread(path)[..., :3]


def test_a_latent_map_has_a_panel_a_colour_and_the_paths_in_it(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 6))
    colours = {"accuracy": z[:, 0], "log10 parameters": z[:, 1]}
    still = np.repeat(z[None, :4], 5, axis=0)
    moving = still + np.linspace(0, 3, 5)[:, None, None]
    latent_map(tmp_path / "still.png", z, colours, still)
    latent_map(tmp_path / "moving.png", z, colours, moving)
    latent_map(tmp_path / "one.png", z, {"accuracy": z[:, 0]}, still)
    picture = _picture(tmp_path / "still.png")
    assert picture.shape[1] == 2 * _picture(tmp_path / "one.png").shape[1]
    assert picture.std() > 0.05
    assert np.abs(picture - _picture(tmp_path / "moving.png")).max() > 0.5


def test_predictions_are_drawn_over_the_truth(tmp_path):
    true = np.linspace(0, 1, 50)
    for name, predicted in (("right", true), ("wrong", 1 - true)):
        predicted_against_true(
            tmp_path / f"{name}.png", {"accuracy": (true, predicted)}
        )
    right, wrong = (
        _picture(tmp_path / f"{name}.png") for name in ("right", "wrong")
    )
    assert right.shape == wrong.shape
    assert np.abs(right - wrong).max() > 0.5


def test_regrets_are_drawn_a_line_a_method(tmp_path):
    falling = np.geomspace(0.1, 0.001, 40) * np.ones((3, 1))
    for name, regrets in (("falling", falling), ("found", 0 * falling)):
        regret_curves(tmp_path / f"{name}.png", {"one": regrets})
    pictures = [_picture(tmp_path / f"{n}.png") for n in ("falling", "found")]
    assert pictures[0].std() > 0.05
    assert np.abs(pictures[0] - pictures[1]).max() > 0.5
