"""Tests of what is loaded with a module: TensorFlow only when it is needed."""

import functools
import importlib.util
import pathlib
import sys

import fresh
import pytest

import archcomp_tf

# These need the standard library alone, and these NumPy at most.
PLAIN_MODULES = (
    *(
        "quiet",
        "progress",
        "atomic",
        "layer",
        "architecture",
        "teachers",
        "cost",
    ),
    *("charts", "page", "anatomy", "workdir"),
)
NUMPY_MODULES = ("search_space", "choices", "encoding", "checkpoint")

_FOLDER = pathlib.Path(archcomp_tf.__file__).parent
_MODULES = sorted(
    path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__"
)


@functools.cache
def _third_parties(statement: str) -> set[str]:
    """What it loads beside us, the standard library and Python's own start."""
    loaded = fresh.loaded_by(statement)
    if statement:
        loaded -= _third_parties("")
    return loaded - sys.stdlib_module_names - {"archcomp_tf"}


@pytest.mark.parametrize("module", PLAIN_MODULES)
def test_a_plain_module_loads_the_standard_library_alone(module):
    assert _third_parties(f"import archcomp_tf.{module}") == set()


@pytest.mark.parametrize("module", NUMPY_MODULES)
def test_a_module_of_arrays_loads_numpy_at_most(module):
    loaded = _third_parties(f"import archcomp_tf.{module}")
    assert "numpy" in loaded
    assert loaded <= _third_parties("import numpy.random")


def test_tensorflow_is_loaded_only_when_it_is_asked_for_something():
    backends = [
        name for name in ("jax", "torch") if importlib.util.find_spec(name)
    ]
    if not backends:
        pytest.skip("needs jax or torch, of which neither is installed")
    # digits is a builder of TFDS, which needs it.
    modules = [f"archcomp_tf.{m}" for m in _MODULES if m != "digits"]
    loaded = fresh.loaded_by(
        f"import {', '.join(modules)}", KERAS_BACKEND=backends[0]
    )
    assert {"keras", backends[0]} <= loaded
    assert "tensorflow" not in loaded
