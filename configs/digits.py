"""scikit-learn's handwritten digits: the demonstration.

Source: bundled with scikit-learn, 1,797 grey images of 8x8 pixels.
Command: make demo
  With --config=configs/digits.py:paper it is the plain method, that of arXiv
  1902.03326 as far as its abstract tells: joint training, one shot, descent
  from the teacher alone.
"""

from archcomp_tf.config import (
    ConfigError,
    default_config,
    objective_config,
    recipe_config,
)


def get_config(method="ours"):
    """A teacher of 335,594 parameters; students over 33 times smaller."""
    if method not in ("ours", "paper"):
        raise ConfigError(f"Expected digits.py:ours or :paper; got {method!r}.")
    config = default_config()
    with config.unlocked():
        config.teacher.architecture = (
            "conv3x3-32 conv3x3-64 max_pool2x2/2 conv3x3-96 conv3x3-128 "
            "max_pool2x2/2 conv3x3-128"
        )
        config.teacher.recipe = recipe_config(epochs=10, learning_rate=0.05)
        config.objective = objective_config("Budget", max_params=10_000)
        config.labels.recipe = recipe_config(epochs=10)
        config.labels.num_labels = 36
        config.student.recipe = recipe_config(epochs=60)
        config.student.num_finalists = 5
        config.student.num_tuning_trials = 3
        config.student.controls = ("separable_conv",)
        if method == "paper":
            config.autoencoder.mode = "joint"
            config.labels.num_initial = 28
            config.labels.labels_a_round = 8
            config.search.update(
                num_starts=1, num_neighbours=0, doubts=False, narrowed=False
            )
    return config
