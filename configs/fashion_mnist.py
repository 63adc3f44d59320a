"""Fashion-MNIST, from a teacher chosen by name.

Source: arXiv 1708.07747; TFDS fashion_mnist: 60,000 + 10,000 grey images of
  28x28.
Command: python bin/run_pipeline.py --config=configs/fashion_mnist.py:vgg7
Time: said before it starts; `:vgg7` and `:vgg11_half` are for two cores.
Result: in about two hours on two cores 21.2 times smaller than `vgg7`, 0.64
  points of test accuracy lost (93.34 to 92.71 %, mean of three runs of three
  trainings each; commits b1d9387, ce487ac, 87edd0d), see results/README.md.
  Others have not been run.
"""

from archcomp_tf.presets import classifier_config


def get_config(teacher="vgg7"):
    """A student of a twentieth of the weights of `teacher`."""
    return classifier_config(
        "fashion_mnist",
        teacher,
        (28, 28, 1),
        10,
        mirror=True,
        light_student={"max_shift": 0},  # see results/README.md
    )
