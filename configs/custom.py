"""A model and images of your own.

Source: a trained .keras file; an .npz file with x_train, y_train, x_test and
  y_test, images in uint8 or from 0 to 1.
Command: python bin/run_pipeline.py --config=configs/custom.py
  --workdir=runs/mine --config.teacher.model=model.keras
  --config.dataset=data.npz
  --config.limits.max_params=50_000
Time: about that of 150 short trainings of networks of a tenth of the size.
"""

from archcomp_tf.config import default_config, recipe_config


def get_config():
    """Limits of the student are given beside it, see `config.limits`."""
    config = default_config()
    with config.unlocked():
        config.dataset = "data.npz"
        config.teacher.model = "model.keras"
        config.num_workers = 2
        config.labels.recipe = recipe_config(num_images=10_000, epochs=6)
        config.student.recipe = recipe_config(epochs=30, batch_size=128)
    return config
