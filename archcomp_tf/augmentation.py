"""Random changes of training images, alike on every Keras backend.

What is random is drawn by NumPy before an epoch; what is applied inside the
compiled training is one gather.  Shift and mirror are those of He et al., arXiv
1512.03385 (section 4.2); the square left out is DeVries and Taylor's cutout,
arXiv 1708.04552.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How images are changed, each anew each time it is seen.

    Attributes:
      max_shift: pixels, in each direction; what comes in is 0, which is black
        where images are in [0, 1].
      mirror: whether half of the images are turned left to right.
      cutout: side, in pixels, of a square that is made 0; 0 for none.
    """

    max_shift: int = 0
    mirror: bool = False
    cutout: int = 0

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.max_shift or self.mirror or self.cutout)

    def draw(
        self,
        rng: np.random.Generator,
        num: tuple[int, ...],
        image_shape: tuple[int, int, int],
    ) -> np.ndarray:
        """What is random: int32 `[*num, 5]` for images of `[*num, H, W, C]`.

        Per image: shift in y and x, mirrored or not, centre of the square.
        """
        height, width, _ = image_shape
        shift = self.max_shift
        draws = [
            rng.integers(-shift, shift + 1, num),
            rng.integers(-shift, shift + 1, num),
            rng.integers(0, 2, num) * self.mirror,
            rng.integers(0, height, num),
            rng.integers(0, width, num),
        ]
        return np.stack(draws, axis=-1).astype(np.int32)

    def __call__(self, images, draws):
        """Changes images.

        Args:
          images: float tensor `[B, H, W, C]`.
          draws: int32 tensor `[B, 5]`, of `draw`.

        Returns:
          Float tensor `[B, H, W, C]`.
        """
        num, height, width, channels = images.shape
        shift_y, shift_x, mirrored, centre_y, centre_x = (
            draws[:, i, None] for i in range(5)
        )
        y, x = ops.arange(height)[None], ops.arange(width)[None]
        from_y = y + shift_y
        from_x = ops.where(mirrored == 1, width - 1 - x, x) + shift_x
        shown = _outer(
            (from_y >= 0) & (from_y < height), (from_x >= 0) & (from_x < width)
        )
        if self.cutout:
            low, high = -(self.cutout // 2), (self.cutout - 1) // 2
            cut = _outer(
                (y - centre_y >= low) & (y - centre_y <= high),
                (x - centre_x >= low) & (x - centre_x <= high),
            )
            shown = shown & ~cut
        rows = ops.arange(num)[:, None] * height + ops.clip(
            from_y, 0, height - 1
        )
        pixels = (
            rows[:, :, None] * width + ops.clip(from_x, 0, width - 1)[:, None]
        )
        moved = ops.take(
            ops.reshape(images, (num * height * width, channels)),
            ops.reshape(pixels, (-1,)),
            axis=0,
        )
        moved = ops.reshape(moved, (num, height, width, channels))
        return moved * ops.cast(shown[..., None], moved.dtype)


def _outer(rows, columns):
    """`[B, H]` and `[B, W]` -> `[B, H, W]`, true where both are."""
    return rows[:, :, None] & columns[:, None, :]
