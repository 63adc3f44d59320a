"""SVHN, from a teacher chosen by name.

Source: Netzer et al., 2011; TFDS svhn_cropped: 73,257 + 26,032 images of 32x32.
Command: python bin/run_pipeline.py --config=configs/svhn_cropped.py:resnet18
Time, result: not run yet, see results/README.md.  `:vgg7` and `:vgg11_half` are
  for two cores.
"""

from archcomp_tf.presets import classifier_config


def get_config(teacher="resnet18"):
    """A student of a twentieth of the weights of `teacher`."""
    return classifier_config("svhn_cropped", teacher, (32, 32, 3), 10, cutout=8)
