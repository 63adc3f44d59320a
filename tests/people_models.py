"""Keras models as people write them: tutorials, papers, habits.

`READ` has the ones that are read, each with the architecture that it is, in
text form; `REFUSED` the others, each with the name of the layer that stands in
the way and a word of what would be needed.
"""

import keras
from keras import layers

SAME = {"padding": "same"}


def row(shape, *hidden, classes=10):
    """A Sequential that ends with a softmax Dense of `classes`."""
    last = layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input(shape), *hidden, last])


def graph(function, shape=(16, 16, 3)):
    """A model that pools what a function makes of an image, and classifies."""
    image = keras.Input(shape)
    x = layers.GlobalAveragePooling2D()(function(image))
    return keras.Model(image, layers.Dense(10)(x))


def conv_bn_relu(x, filters, size=3, strides=1):
    x = layers.Conv2D(filters, size, strides, use_bias=False, **SAME)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


# Read.


def keras_mnist():
    return row(
        (28, 28, 1),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
    )


def tensorflow_cifar10():
    model = keras.Sequential()
    model.add(keras.Input((32, 32, 3)))
    model.add(layers.Conv2D(32, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10))
    return model


def tensorflow_flowers():
    augmentation = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
        ]
    )
    hidden = []
    for filters in (16, 32, 64):
        hidden.append(layers.Conv2D(filters, 3, activation="relu", **SAME))
        hidden.append(layers.MaxPooling2D())
    return row(
        (24, 24, 3),
        augmentation,
        layers.Rescaling(1.0 / 255),
        *hidden,
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        classes=5,
    )


def lenet():
    """LeCun et al. 1998: tanh, mean pools, a convolution as a dense layer."""
    return row(
        (32, 32, 1),
        layers.Conv2D(6, 5, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(120, 5, activation="tanh"),
        layers.Flatten(),
        layers.Dense(84, activation="tanh"),
    )


def activation_behind_the_pool():
    return row(
        (28, 28, 1),
        layers.Conv2D(10, 5),
        layers.MaxPooling2D(),
        layers.Activation("relu"),
        layers.Conv2D(20, 5),
        layers.Dropout(0.5),
        layers.MaxPooling2D(),
        layers.Activation("relu"),
        layers.Flatten(),
        layers.Dense(50),
        layers.Activation("relu"),
    )


def alexnet():
    return row(
        (67, 67, 3),
        layers.Conv2D(48, 11, strides=4, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(3, strides=2),
        layers.Conv2D(128, 5, activation="relu", **SAME),
        layers.BatchNormalization(),
        layers.MaxPooling2D(3, strides=2),
        layers.ZeroPadding2D(1),
        layers.Conv2D(192, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(256, activation="relu"),
        layers.Dropout(0.5),
    )


def multilayer_perceptron():
    return row(
        (28, 28),
        layers.Reshape((28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.2),
    )


def all_convolutional():
    """Springenberg et al. 2014: a 1x1 convolution gives the classes."""
    image = keras.Input((32, 32, 3))
    x = image
    for filters, strides in ((24, 1), (24, 2), (48, 1), (48, 2)):
        x = layers.Conv2D(filters, 3, strides, activation="relu", **SAME)(x)
    x = layers.Conv2D(10, 1)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Softmax()(x))


def leaky_and_parametric():
    return row(
        (16, 16, 3),
        layers.GaussianNoise(0.1),
        layers.Conv2D(8, 3, activation=layers.LeakyReLU(0.1), **SAME),
        layers.BatchNormalization(),
        layers.Conv2D(12, 5, 2, **SAME),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Conv2D(16, 3, activation="silu", **SAME),
        layers.GlobalMaxPooling2D(),
    )


def small_resnet():
    def blocks(x):
        x = conv_bn_relu(x, 8)
        for filters, strides in ((8, 1), (16, 2), (16, 1)):
            y = conv_bn_relu(x, filters, 3, strides)
            y = layers.Conv2D(filters, 3, use_bias=False, **SAME)(y)
            y = layers.BatchNormalization()(y)
            if strides > 1:
                x = layers.Conv2D(filters, 1, strides, use_bias=False)(x)
                x = layers.BatchNormalization()(x)
            x = layers.Activation("relu")(layers.add([x, y]))
        return x

    return graph(blocks)


def preactivated_resnet():
    """He et al. 2016: batch norm and activation before each convolution."""

    def blocks(x):
        x = layers.Conv2D(8, 3, **SAME)(x)
        for filters, strides in ((8, 1), (16, 2)):
            y = layers.BatchNormalization()(x)
            y = layers.Conv2D(filters, 3, strides, **SAME)(layers.ReLU()(y))
            y = layers.BatchNormalization()(y)
            y = layers.Conv2D(filters, 3, **SAME)(layers.ReLU()(y))
            if strides > 1:
                x = layers.Conv2D(filters, 1, strides)(x)
            x = x + y
        return layers.ReLU()(layers.BatchNormalization()(x))

    return graph(blocks)


def resnet_d():
    """He et al. 2018: a mean pool before the projection of the shortcut."""

    def blocks(x):
        x = conv_bn_relu(x, 16)
        y = conv_bn_relu(x, 8, 1, 2)
        y = conv_bn_relu(y, 8)
        y = layers.BatchNormalization()(layers.Conv2D(32, 1)(y))
        x = layers.AveragePooling2D(2, **SAME)(x)
        x = layers.BatchNormalization()(layers.Conv2D(32, 1)(x))
        return layers.ReLU()(layers.Add()([y, x]))

    return graph(blocks)


def always_projected():
    def block(x):
        x = conv_bn_relu(x, 8)
        y = layers.Conv2D(8, 3, **SAME)(conv_bn_relu(x, 8))
        return layers.ReLU()(layers.Add()([layers.Conv2D(8, 1)(x), y]))

    return graph(block)


def hand_made_mobilenet():
    def blocks(x):
        x = conv_bn_relu(x, 8, 3, 2)
        for filters, strides in ((16, 1), (32, 2)):
            x = layers.DepthwiseConv2D(3, strides, use_bias=False, **SAME)(x)
            x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
            x = conv_bn_relu(x, filters, 1)
        return x

    return graph(blocks)


def separable_convolutions():
    return row(
        (32, 32, 3),
        layers.Conv2D(16, 3, **SAME),
        layers.BatchNormalization(),
        layers.Activation("swish"),
        layers.SeparableConv2D(32, 3, activation="relu"),
        layers.SeparableConv2D(32, 3, use_bias=False, **SAME),
        layers.BatchNormalization(),
        layers.ELU(),
        layers.MaxPooling2D(3, 2, **SAME),
        layers.AveragePooling2D(15),
        layers.Flatten(),
    )


def linear_expansion():
    """Inverted residuals, of which one begins with a convolution of its own."""

    def blocks(x):
        x = conv_bn_relu(x, 8)
        for filters in (8, 12):
            y = conv_bn_relu(x, 24, 1)
            y = layers.DepthwiseConv2D(5, activation="relu6", **SAME)(y)
            y = layers.BatchNormalization()(layers.Conv2D(filters, 1)(y))
            x = layers.Add()([x, y]) if filters == 8 else y
        return x

    return graph(blocks)


def transfer_learning():
    """Raw images, `preprocess_input`, a backbone for images of any size."""
    backbone = keras.applications.ResNet50(include_top=False, weights=None)
    image = keras.Input((64, 64, 3))
    x = layers.RandomFlip()(image)
    x = keras.applications.resnet.preprocess_input(x)
    x = backbone(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def grey_images():
    """One channel three times, as a backbone of colour images wants it."""
    image = keras.Input((28, 28, 1))
    x = layers.Resizing(32, 32)(image)
    x = layers.Concatenate()([x, x, x]) / 127.5 - 1
    x = layers.MaxPooling2D()(conv_bn_relu(x, 8))
    x = layers.Dense(10)(layers.Flatten()(x))
    return keras.Model(image, x)


_RESNET50 = " ".join(
    f"bottleneck3x3-{filters}{strides}"
    for filters, num in ((256, 3), (512, 4), (1024, 6), (2048, 3))
    for strides in ["" if filters == 256 else "/2", *[""] * (num - 1)]
)


def squeeze_and_excitation():
    def block(x):
        x = conv_bn_relu(x, 8)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Dense(2, activation="relu")(gate)
        gate = layers.Dense(8, activation="sigmoid")(gate)
        x = layers.Multiply()([x, gate])
        # A second gate, with nothing but operations.
        x = conv_bn_relu(x, 8)
        gate = keras.ops.mean(x, axis=(1, 2))
        gate = layers.Reshape((1, 1, 8))(layers.Dense(8)(gate))
        return keras.ops.sigmoid(gate) * x

    return graph(block)


def gated_residual():
    def block(x):
        x = conv_bn_relu(x, 8)
        y = layers.Conv2D(8, 3, **SAME)(conv_bn_relu(x, 8))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        y = layers.Multiply(name="gate")([y, layers.Dense(8)(gate)])
        return layers.Add()([x, y])

    return graph(block)


def swish_as_a_product():
    def block(x):
        x = layers.Conv2D(8, 3, **SAME)(x)
        x = layers.Multiply()([x, layers.Activation("sigmoid")(x)])
        x = layers.Conv2D(12, 5, 2, **SAME)(x)
        return x * (layers.ReLU(6.0)(x + 3.0) / 6.0)

    return graph(block)


READ = {
    keras_mnist: "conv3x3-32 max_pool2x2/2 conv3x3-64 max_pool2x2/2 flatten",
    tensorflow_cifar10: "conv3x3-32 max_pool2x2/2 conv3x3-64 max_pool2x2/2 "
    "conv3x3-64 flatten dense-64",
    tensorflow_flowers: "conv3x3-16 max_pool2x2/2 conv3x3-32 max_pool2x2/2 "
    "conv3x3-64 max_pool2x2/2 flatten dense-128",
    lenet: "conv5x5-6 avg_pool2x2/2 conv5x5-16 avg_pool2x2/2 flatten dense-120 "
    "dense-84",
    activation_behind_the_pool: "conv5x5-10 max_pool2x2/2 conv5x5-20 "
    "max_pool2x2/2 flatten dense-50",
    alexnet: "conv11x11-48/4 max_pool3x3/2 conv5x5-128 max_pool3x3/2 "
    "conv3x3-192 flatten dense-256 dense-256",
    multilayer_perceptron: "flatten dense-128",
    all_convolutional: "conv3x3-24 conv3x3-24/2 conv3x3-48 conv3x3-48/2",
    leaky_and_parametric: "conv3x3-8 conv5x5-12/2 conv3x3-16",
    small_resnet: "conv3x3-8 residual3x3-8 residual3x3-16/2 residual3x3-16",
    preactivated_resnet: "conv3x3-8 residual3x3-8 residual3x3-16/2",
    resnet_d: "conv3x3-16 bottleneck3x3-32/2",
    always_projected: "conv3x3-8 residual3x3-8",
    hand_made_mobilenet: "conv3x3-8/2 separable_conv3x3-16 "
    "separable_conv3x3-32/2",
    separable_convolutions: "conv3x3-16 separable_conv3x3-32 "
    "separable_conv3x3-32 max_pool3x3/2",
    linear_expansion: "conv3x3-8 inverted_residual5x5-8x3 "
    "inverted_residual5x5-12x3",
    squeeze_and_excitation: "conv3x3-8 conv3x3-8",
    gated_residual: "conv3x3-8 residual3x3-8",
    swish_as_a_product: "conv3x3-8 conv5x5-12/2",
    transfer_learning: f"conv7x7-64/2 max_pool3x3/2 {_RESNET50}",
    grey_images: "conv3x3-8 max_pool2x2/2 flatten",
}


# Refused.


def attention_over_places():
    def block(x):
        x = conv_bn_relu(x, 8)
        gate = layers.Conv2D(1, 7, activation="sigmoid", **SAME)(x)
        return layers.Multiply(name="gate")([x, gate])

    return graph(block)


def gated_by_another():
    def block(x):
        gate = layers.Conv2D(8, 3, activation="sigmoid", **SAME)(x)
        return layers.Multiply(name="gate")([conv_bn_relu(x, 8), gate])

    return graph(block)


def dense_on_maps():
    return row(
        (8, 8, 3),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Dense(16, activation="relu", name="hidden"),
        layers.Flatten(),
    )


def grouped():
    return graph(
        lambda x: layers.Conv2D(8, 3, groups=4, name="grouped")(
            conv_bn_relu(x, 8)
        )
    )


def dilated():
    return graph(
        lambda x: layers.Conv2D(8, 3, dilation_rate=2, name="atrous", **SAME)(x)
    )


def inception():
    def block(x):
        towers = [conv_bn_relu(x, 4, size) for size in (1, 3, 5)]
        return layers.Concatenate(name="mixed")(towers)

    return graph(block)


def densely_connected():
    def blocks(x):
        for index in range(3):
            y = conv_bn_relu(x, 4)
            x = layers.Concatenate(name=f"join{index}")([x, y])
        return x

    return graph(blocks)


def factorised():
    return row(
        (16, 16, 3),
        layers.Conv2D(8, (1, 7), activation="relu", name="across", **SAME),
        layers.Conv2D(8, (7, 1), activation="relu", **SAME),
        layers.Flatten(),
    )


def vision_transformer():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 4, 4)(image)
    x = layers.Reshape((16, 8), name="patches")(x)
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(10)(x))


def recurrent():
    return row(
        (8, 8, 3),
        layers.Conv2D(4, 3, activation="relu", **SAME),
        layers.TimeDistributed(layers.Flatten(), name="rows"),
        layers.LSTM(16),
    )


def cats_or_dogs():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid", name="is_dog"),
        ]
    )


def counting():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, name="how_many"),
        ]
    )


def old_scaling():
    return row(
        (16, 16, 3),
        layers.Lambda(lambda x: x / 255, name="scale"),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(),
    )


def wide_bottleneck():
    """Zagoruyko and Komodakis 2016: the middle is half as wide as the ends."""

    def block(x):
        x = conv_bn_relu(x, 16)
        y = conv_bn_relu(conv_bn_relu(x, 8, 1), 8)
        y = layers.BatchNormalization()(layers.Conv2D(16, 1)(y))
        return layers.ReLU()(layers.Add(name="wide")([x, y]))

    return graph(block)


def xception():
    def block(x):
        y = layers.SeparableConv2D(8, 3, activation="relu", **SAME)(x)
        y = layers.SeparableConv2D(8, 3, **SAME)(y)
        y = layers.MaxPooling2D(3, 2, **SAME)(y)
        return layers.Add(name="exit")([layers.Conv2D(8, 1, 2)(x), y])

    return graph(block)


def depthwise_alone():
    return graph(
        lambda x: conv_bn_relu(
            layers.DepthwiseConv2D(3, name="alone", activation="relu")(x), 8
        )
    )


def convnext():
    return graph(
        lambda x: layers.LayerNormalization(name="norm")(
            layers.Conv2D(8, 4, 4)(x)
        )
    )


def twice():
    shared = layers.Conv2D(3, 3, activation="relu", name="shared", **SAME)
    return graph(lambda x: shared(shared(x)))


def autoencoder():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, 2, activation="relu", **SAME)(image)
    x = layers.UpSampling2D(name="up")(x)
    return keras.Model(image, layers.Conv2D(3, 3, **SAME)(x))


def features_only():
    backbone = keras.applications.MobileNetV2(
        (32, 32, 3), include_top=False, pooling="avg", weights=None
    )
    backbone.layers[-1].name = "features"
    return backbone


def pieces():
    return row(
        (16, 16, 3),
        layers.Conv2D(8, 4, 4),
        layers.Reshape((16, 8), name="pieces"),
        layers.GlobalAveragePooling1D(),
    )


def two_tasks():
    image = keras.Input((16, 16, 3))
    x = layers.Flatten()(layers.Conv2D(8, 3, activation="relu")(image))
    ends = [layers.Dense(3, name=name)(x) for name in ("colour", "kind")]
    return keras.Model(image, ends)


def resized_inside():
    return row(
        (16, 16, 3),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Resizing(8, 8, name="smaller"),
        layers.Flatten(),
    )


REFUSED = {
    attention_over_places: ("gate", "a gate of one number a channel"),
    gated_by_another: ("gate", "Add of two"),
    dense_on_maps: ("hidden", "no Dense on maps"),
    grouped: ("grouped", "groups 1"),
    dilated: ("atrous", "dilation_rate 1"),
    inception: ("mixed", "Add of two"),
    densely_connected: ("join0", "Add of two"),
    factorised: ("across", "square window"),
    vision_transformer: ("patches", "a reshape to one vector"),
    recurrent: ("rows", "a layer that convolves, pools or classifies"),
    cats_or_dogs: ("is_dog", "softmax or sigmoid Dense at the end"),
    counting: ("how_many", "an output a class"),
    old_scaling: ("scale", "a layer that convolves, pools or classifies"),
    wide_bottleneck: ("wide", "(conv1x1-4 relu conv3x3-4 relu conv1x1-16)"),
    xception: ("exit", "the sum of"),
    depthwise_alone: ("alone", "conv1x1"),
    convnext: ("norm", "a layer that convolves, pools or classifies"),
    twice: ("shared", "one use"),
    autoencoder: ("up", "a layer that convolves, pools or classifies"),
    features_only: ("features", "softmax or sigmoid Dense at the end"),
    pieces: ("pieces", "one vector"),
    two_tasks: ("colour", "one output"),
    resized_inside: ("smaller", "in front of all layers"),
}
