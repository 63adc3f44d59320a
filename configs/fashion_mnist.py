"""Fashion-MNIST, from a teacher chosen by name.

Source: arXiv 1708.07747; TFDS fashion_mnist: 60,000 + 10,000 grey images of
  28x28.
Command: python bin/run_pipeline.py --config=configs/fashion_mnist.py:vgg7
Time: by its parts about 80 minutes on two cores.
Result: the teacher comes to 93.4 % on validation data; the rest was not run to
  the end yet, see results/README.md.
"""

from archcomp_tf.config import classifier_config


def get_config(teacher="vgg7"):
    """A student of a twentieth of the weights of `teacher`."""
    return classifier_config(
        "fashion_mnist", teacher, (28, 28, 1), 10, mirror=True
    )
