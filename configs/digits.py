"""scikit-learn's handwritten digits: the demonstration.

Source: bundled with scikit-learn, 1,797 grey images of 8x8 pixels.
Command: make demo
"""

from archcomp_tf.config import default_config, objective_config, recipe_config


def get_config():
    """A teacher of 335,594 parameters; students over 33 times smaller."""
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
    return config
