"""CIFAR-10, from a teacher chosen by name.

Source: Krizhevsky, 2009; TFDS cifar10: 50,000 + 10,000 colour images of 32x32.
Command: python bin/run_pipeline.py --config=configs/cifar10.py:resnet18
Time: said before it starts; `:vgg7` and `:vgg11_half` are for two cores.
Result: on two cores 20.1 times smaller than `vgg11_half`, 1.33 points of test
  accuracy lost (88.99 to 87.66 %, mean of three trainings of 36 epochs), and
  begun with the published labels 20.7 times, 1.15 points; with a teacher of 12
  epochs 22.5 times smaller, 0.21 points lost, see results/README.md.  Others
  have not been run.
"""

from archcomp_tf.presets import classifier_config


def get_config(teacher="resnet18"):
    """A student of a twentieth of the weights of `teacher`."""
    return classifier_config(
        "cifar10",
        teacher,
        (32, 32, 3),
        10,
        mirror=True,
        cutout=8,
        light_student={"epochs": 60, "weight_decay": 2e-3},
    )
