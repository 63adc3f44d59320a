"""Well-known classifiers in their form for 32x32 images, by name.

Sources: VGG with batch norm, arXiv 1409.1556, one Dense after the pooled
features; ResNet's CIFAR form of the ImageNet networks (a 3x3 stem, no first
pool), arXiv 1512.03385, and its own networks for CIFAR-10 (section 4.2 there,
with projections in place of padded shortcuts); MobileNetV1, arXiv 1704.04861,
and V2, arXiv 1801.04381, with the first strides left out, so that maps of 2x2
and of 4x4 are left at the end.  "vgg7" and "vgg11_half" are our own, for
machines without a GPU.
"""

from __future__ import annotations

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import Layer


def _vgg(*convs: int) -> list[Layer]:
    layers = []
    for filters, num in zip((64, 128, 256, 512, 512), convs, strict=True):
        layers += [Layer("conv", filters)] * num
        layers.append(Layer("max_pool", kernel_size=2, strides=2))
    return layers


def _vgg7() -> list[Layer]:
    pool = Layer("max_pool", kernel_size=2, strides=2)
    layers = [Layer("conv", 32), pool]
    for filters in (64, 128):
        layers += [*[Layer("conv", filters)] * 2, pool]
    return [*layers, Layer("conv", 256)]


def _resnet(*blocks: int, filters: int = 64) -> list[Layer]:
    layers = [Layer("conv", filters)]
    for stage, num in enumerate(blocks):
        strides = 1 if stage == 0 else 2
        layers += _stage(num, strides, "residual", filters * 2**stage)
    return layers


def _mobilenet_v1() -> list[Layer]:
    layers = [Layer("conv", 32)]
    for filters, strides, num in (
        (64, 1, 1),
        (128, 2, 2),
        (256, 2, 2),
        (512, 2, 6),
        (1024, 2, 2),
    ):
        layers += _stage(num, strides, "separable_conv", filters)
    return layers


def _mobilenet_v2() -> list[Layer]:
    layers = [Layer("conv", 32)]
    for expansion, filters, num, strides in (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        layers += _stage(
            num, strides, "inverted_residual", filters, expansion=expansion
        )
    return [*layers, Layer("conv", 1280, kernel_size=1)]


def _stage(
    num: int, strides: int, kind: str, filters: int, **fields: int
) -> list[Layer]:
    """`num` layers of which the first takes the strides."""
    first = Layer(kind, filters, strides=strides, **fields)
    return [first, *[Layer(kind, filters, **fields)] * (num - 1)]


TEACHERS: dict[str, Architecture] = {
    name: Architecture(tuple(layers))
    for name, layers in {
        "vgg7": _vgg7(),
        "vgg11_half": Architecture(tuple(_vgg(1, 1, 2, 2, 2)))
        .scale_width(0.5)
        .layers,
        "vgg11": _vgg(1, 1, 2, 2, 2),
        "vgg13": _vgg(2, 2, 2, 2, 2),
        "vgg16": _vgg(2, 2, 3, 3, 3),
        "vgg19": _vgg(2, 2, 4, 4, 4),
        "resnet20": _resnet(3, 3, 3, filters=16),
        "resnet32": _resnet(5, 5, 5, filters=16),
        "resnet18": _resnet(2, 2, 2, 2),
        "resnet34": _resnet(3, 4, 6, 3),
        "mobilenet_v1": _mobilenet_v1(),
        "mobilenet_v2": _mobilenet_v2(),
    }.items()
}


def named(text: str) -> Architecture:
    """A network of TEACHERS by its name, or any other by its text form.

    Raises:
      ValueError: it is neither.
    """
    if text in TEACHERS:
        return TEACHERS[text]
    try:
        return Architecture.parse(text)
    except ValueError as error:
        raise ValueError(
            f"Expected one of {', '.join(TEACHERS)} or the text form of an "
            f"architecture; got {text!r}: {error}"
        ) from error
