"""Tests of which module may import which, and of what loads TensorFlow."""

import ast
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

import archcomp_tf

# A room imports only from rooms above it.
ROOMS = (
    "quiet",
    "progress",
    "atomic",
    "processes",
    "layer",
    "architecture",
    "teachers",
    "cost",
    "search_space",
    "choices",
    "encoding",
    "charts",
    "page",
    "anatomy",
    "builder",
    "keras_graph",
    "binary",
    "steps",
    "parts",
    "reading",
    "importer",
    "digits",
    "datasets",
    "preprocessing",
    "backend",
    "environment",
    "batch_norm",
    "inference",
    "augmentation",
    "checkpoint",
    "training",
    "distillation",
    "corpus",
    "task",
    "trials",
    "workers",
    "labeling",
    "heads",
    "autoencoder",
    "fitting",
    "objective",
    "oracles",
    "ledger",
    "descent",
    "latent",
    "compression",
    "evaluation",
    "baselines",
    "tuning",
    "export",
    "students",
    "litert",
    "measurement",
    "limits",
    "plots",
    "results",
    "exhibits",
    "comparison",
    "html_report",
    "dashboards",
    "report",
    "config",
    "workdir",
    "run",
    "forecast",
    "teaching",
    "embedding",
    "finals",
    "outcome",
    "pipeline",
)
# These need the standard library alone, and these NumPy at most.
PLAIN_ROOMS = (
    *("layer", "architecture", "teachers", "cost"),
    *("charts", "page", "anatomy"),
)
NUMPY_ROOMS = ("search_space", "choices", "encoding")

_FOLDER = pathlib.Path(archcomp_tf.__file__).parent
_FILES = sorted(
    path for path in _FOLDER.glob("*.py") if path.stem != "__init__"
)
every_room = pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)


def _imports(source: str) -> Iterator[str]:
    """Dotted names that are imported, of modules or of things in them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = ["archcomp_tf"] if node.level else []
            parts += [node.module] if node.module else []
            for alias in node.names:
                yield ".".join([*parts, alias.name])


def _rooms_imported(source: str) -> set[str]:
    names = [name.split(".") for name in _imports(source)]
    return {
        parts[1] if len(parts) > 1 else "__init__"
        for parts in names
        if parts[0] == "archcomp_tf"
    }


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import archcomp_tf.cost", {"cost"}),
        ("from archcomp_tf import cost, layer as l", {"cost", "layer"}),
        ("from archcomp_tf.cost import num_params", {"cost"}),
        ("from . import cost", {"cost"}),
        ("from .cost import num_params", {"cost"}),
        ("def f():\n  if x:\n    import archcomp_tf.cost", {"cost"}),
        ("import archcomp_tf", {"__init__"}),
        ("import numpy, archcomp_tf_other", set()),
    ],
)
def test_imports_are_found_in_whatever_form(source, rooms):
    assert _rooms_imported(source) == rooms


@every_room
def test_every_module_has_its_place_in_the_order(path):
    assert path.stem in ROOMS


@every_room
def test_a_room_imports_only_from_rooms_above_it(path):
    above = ROOMS[: ROOMS.index(path.stem)]
    assert _rooms_imported(path.read_text()) <= set(above)


def _loaded_by(rooms: list[str], **environment: str) -> set[str]:
    """Top-level packages that a fresh Python has after importing rooms."""
    lines = [f"import archcomp_tf.{room}" for room in rooms]
    lines += [
        "import json, sys",
        "print('\\n' + json.dumps(list(sys.modules)))",
    ]
    output = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path)}
        | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    modules = json.loads(output.splitlines()[-1])
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("room", PLAIN_ROOMS)
def test_describing_a_network_needs_the_standard_library_alone(room):
    loaded = _loaded_by([room])
    assert "archcomp_tf" in loaded
    assert not loaded & {"numpy", "keras", "tensorflow"}


@pytest.mark.parametrize("room", NUMPY_ROOMS)
def test_describing_a_space_needs_numpy_at_most(room):
    loaded = _loaded_by([room])
    assert "numpy" in loaded
    assert not loaded & {"keras", "tensorflow"}


def test_tensorflow_is_loaded_only_when_it_is_asked_for_something():
    backends = [
        name for name in ("jax", "torch") if importlib.util.find_spec(name)
    ]
    if not backends:
        pytest.skip("needs jax or torch, of which neither is installed")
    # digits is a builder of TFDS, which needs it.
    rooms = [path.stem for path in _FILES if path.stem != "digits"]
    loaded = _loaded_by(rooms, KERAS_BACKEND=backends[0])
    assert {"keras", backends[0]} <= loaded
    assert "tensorflow" not in loaded
