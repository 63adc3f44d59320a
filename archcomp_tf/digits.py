"""scikit-learn's bundled handwritten digits as a TFDS builder.

1,797 grey images of 8x8 pixels in ten classes: the test set of "Optical
Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI Machine Learning
Repository, 1998).  They need no download, so that a demonstration takes the
same way through TFDS as every other data set.  The test split of 500 images
is drawn once, by class, and is the same for every seed.

Importing this module registers the name "digits" with TFDS.
"""

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow_datasets as tfds

_MAX_VALUE = 16  # of a pixel in scikit-learn's arrays
_NUM_TEST = 500


class Digits(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of the digits that come with scikit-learn."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1,297 training and 500 test images."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        digits = sklearn.datasets.load_digits()
        images = np.round(digits.images * (255 / _MAX_VALUE)).astype(np.uint8)
        train, test = sklearn.model_selection.train_test_split(
            np.arange(len(images)),
            test_size=_NUM_TEST,
            stratify=digits.target,
            random_state=0,
        )
        return {
            split: self._generate_examples(images, digits.target, indices)
            for split, indices in (("train", train), ("test", test))
        }

    def _generate_examples(self, images, labels, indices):
        for index in indices:
            yield (
                int(index),
                {
                    "image": images[index][..., None],
                    "label": int(labels[index]),
                },
            )
