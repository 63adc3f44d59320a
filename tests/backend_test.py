"""Tests of training, labelling and searching on every Keras backend."""

import importlib
import importlib.util
import json

import fresh
import keras
import numpy as np
import pytest
import tensorflow as tf

from archcomp_tf import backend

_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
every_backend = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(package) is None,
                reason=f"{package} is not installed",
            ),
        )
        for name, package in _PACKAGES.items()
    ],
)


def _run(program: str, backend_name: str) -> dict:
    """What a program says last, in a process with another backend."""
    done = fresh.run(program, KERAS_BACKEND=backend_name)
    assert done.returncode == 0, done.stderr
    assert "AutoGraph could not" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# One training from given weights, and a label; says what came out.
_TRAIN = """
import dataclasses, json, os, sys
import numpy as np

if os.environ["KERAS_BACKEND"] != "tensorflow":
    sys.modules["tensorflow"] = None  # as where it is not installed

import tiny
from archcomp_tf import backend, environment, labeling, task, training
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.corpus import Corpus
from archcomp_tf.datasets import Split

architecture = Architecture.parse(
    "conv3x3-4 separable_conv3x3-4/2 residual3x3-6 inverted_residual3x3-6x2 "
    "max_pool2x2/2"
)
dataset = tiny.dataset()
train = dataset.train
pixels = np.round(255 * train.images).astype(np.uint8)
dataset = dataclasses.replace(dataset, train=Split(pixels, train.labels))
logits = 4 * np.eye(2, dtype=np.float32)[dataset.train.labels]
model = build(architecture, tiny.SHAPE, tiny.NUM_CLASSES)
rng = np.random.default_rng(0)
for variable in model.trainable_variables:
    if "kernel" in variable.path:
        variable.assign(rng.normal(0, 0.5, variable.shape))
recipe = training.Recipe(
    epochs=3, batch_size=16, learning_rate=0.02, label_smoothing=0.1,
    max_shift=1, mirror=True, cutout=1,
)
result = training.train(
    model, dataset, recipe, seed=0, teacher_logits=logits
)
recipe = training.Recipe(epochs=12, batch_size=16)
label_task = task.Task(dataset, recipe, 0, logits)
(label,) = labeling.Labeler(label_task, Corpus())([architecture])
print(json.dumps({
    "losses": result.losses,
    "weights": [float(np.abs(w).sum()) for w in model.get_weights()],
    "label": label,
    "policy": backend.fastest_dtype_policy(),
    "environment": environment.environment(),
}))
"""


@every_backend
def test_every_backend_trains_alike_and_labels(name):
    outputs = {each: _run(_TRAIN, each) for each in {name, "tensorflow"}}
    got, expected = outputs[name], outputs["tensorflow"]
    np.testing.assert_allclose(got["losses"], expected["losses"], rtol=1e-3)
    np.testing.assert_allclose(
        got["weights"], expected["weights"], rtol=2e-2, atol=1e-4
    )
    assert got["label"] > 0.8
    assert got["policy"] in ("float32", "mixed_bfloat16")
    assert name in got["environment"]


# A search whose labels are a formula; says how its descents went.
_SEARCH = """
import json, os, sys
import numpy as np

if os.environ["KERAS_BACKEND"] != "tensorflow":
    sys.modules["tensorflow"] = None  # as where it is not installed

import keras
from archcomp_tf import backend
from archcomp_tf.architecture import Architecture
from archcomp_tf.compression import search
from archcomp_tf.objective import LogParams
from archcomp_tf.search_space import SearchSpace

variable = keras.Variable(1.0)
read = backend.compiled_reading(lambda x: x * variable, [variable])
before = float(read(keras.ops.convert_to_tensor(2.0)))
variable.assign(3.0)
after = float(read(keras.ops.convert_to_tensor(2.0)))
rows = np.arange(10.0, dtype=np.float32).reshape(5, 2)
sums = backend.by_rows(
    lambda x, y: keras.ops.sum(x + y, axis=1), rows, rows
)

space = SearchSpace.around(
    Architecture.parse("conv3x3-16 max_pool2x2/2 conv3x3-32"), (8, 8, 1), 2
)
result = search(
    space,
    lambda networks: [
        0.5 + sum(layer.kernel_size for layer in a.compact.layers) / 20
        for a in networks
    ],
    num_labels=16,
    objective=LogParams(0.05),
    seed=0,
)
print(json.dumps({
    "read": [before, after],
    "sums": sums.tolist(),
    "in_space": all(space.contains(r.architecture) for r in result.history),
    "different": len({r.architecture.fingerprint for r in result.history}),
    "descents": [[float(t[0]), float(t[-1])] for t in result.traces],
    "best": result.score(result.best),
    "first": max(result.score(r) for r in result.history[:8]),
}))
"""


@every_backend
def test_every_backend_searches(name):
    done = _run(_SEARCH, name)
    assert done["read"] == [2.0, 6.0]
    assert done["sums"] == [2.0, 10.0, 18.0, 26.0, 34.0]
    assert done["in_space"] and done["different"] == 16
    assert all(last > first for first, last in done["descents"])
    assert done["best"] > done["first"]


def test_the_gradient_is_that_of_the_first_argument():
    def function(tensor, factor):
        return keras.ops.sum(factor * tensor**2), tensor + 1

    tensor = keras.ops.convert_to_tensor([1.0, -2.0])
    (value, rest), gradient = backend.compiled(
        backend.value_and_grad(function)
    )(tensor, 3.0)
    assert float(value) == 15.0
    np.testing.assert_array_equal(rest, [2.0, -1.0])
    np.testing.assert_array_equal(gradient, [6.0, -12.0])


def test_a_dtype_policy_holds_inside_and_the_old_one_is_put_back():
    with pytest.raises(KeyError), backend.dtype_policy("mixed_bfloat16"):
        assert keras.layers.Dense(2).compute_dtype == "bfloat16"
        raise KeyError
    assert keras.layers.Dense(2).compute_dtype == "float32"


def test_compiling_leaves_the_users_graph_options_alone():
    options = tf.config.optimizer
    before = options.get_experimental_options()
    options.set_experimental_options({"remapping": False})
    try:
        backend.compiled(lambda x: x + 1)(tf.constant(1.0))
        assert options.get_experimental_options()["remapping"] is False
    finally:
        options.set_experimental_options({"remapping": True} | before)


def test_gpus_are_called_what_their_maker_calls_them(monkeypatch):
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [gpu])
    details = {"device_name": "Some GPU"}
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda _: details
    )
    assert backend.gpu_names() == ["Some GPU"]
