"""A model and images of your own.

Source: a trained .keras file; an .npz file with x_train, y_train, x_test and
  y_test, images in uint8 or floats from 0 to 1 or from 0 to 255.
Command: python bin/run_pipeline.py --config=configs/custom.py
  --workdir=runs/mine --config.teacher.model=model.keras
  --config.dataset=data.npz
  --config.limits.max_params=50_000
Time: said before it starts; see `default_config` for what makes it shorter.
"""

from archcomp_tf.config import default_config


def get_config():
    """Limits come on the command line: --config.limits.NAME=VALUE."""
    config = default_config()
    with config.unlocked():
        config.dataset = "data.npz"
        config.teacher.model = "model.keras"
    return config
