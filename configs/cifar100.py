"""CIFAR-100, from a teacher chosen by name.

Source: Krizhevsky, 2009; TFDS cifar100: 50,000 + 10,000 colour images of 32x32.
Command: python bin/run_pipeline.py --config=configs/cifar100.py:resnet18
Time, result: not run yet, see results/README.md.  `:vgg7` and `:vgg11_half` are
  for two cores.
"""

from archcomp_tf.presets import classifier_config


def get_config(teacher="resnet18"):
    """A student of a twentieth of the weights of `teacher`."""
    return classifier_config(
        "cifar100", teacher, (32, 32, 3), 100, mirror=True, cutout=8
    )
