"""Tests of what `import archcomp_tf` offers."""

import importlib.metadata
import pathlib
import re

import fresh
import pytest
from packaging.requirements import Requirement

import archcomp_tf

# The regular expression of PEP 440, without its local and epoch parts.
_PEP_440 = (
    r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*((a|b|rc)(0|[1-9]\d*))?"
    r"(\.post(0|[1-9]\d*))?(\.dev(0|[1-9]\d*))?"
)


@pytest.mark.parametrize("name", archcomp_tf.__all__)
def test_a_public_name_is_defined_by_a_module_of_the_package(name):
    value = getattr(archcomp_tf, name)
    if name in archcomp_tf._MODULES:
        assert value is importlib.import_module(f"archcomp_tf.{name}")
    else:
        assert value.__name__ == name
        # Where it is defined, and not a module that imports it.
        module = archcomp_tf._EXPORTS[name]
        assert value.__module__ == f"archcomp_tf.{module}"
        assert value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'archcomp_tf'.*'compres'"):
        _ = archcomp_tf.compres
    assert not hasattr(archcomp_tf, "__wrapped__")


def test_the_public_names_are_sorted_and_different():
    assert archcomp_tf.__all__ == sorted(set(archcomp_tf.__all__))


def test_dir_lists_the_public_names():
    assert set(archcomp_tf.__all__) <= set(dir(archcomp_tf))


@pytest.mark.parametrize(
    "source",
    [
        "import archcomp_tf",
        "import archcomp_tf; archcomp_tf.Architecture",
        "from archcomp_tf import Layer, SearchSpace, num_params",
        "import archcomp_tf; dir(archcomp_tf)",
    ],
)
def test_describing_a_network_loads_no_framework(source):
    loaded = fresh.loaded_by(source)
    assert "archcomp_tf" in loaded
    assert not loaded & {"keras", "tensorflow", "jax", "torch"}


def test_setup_finds_the_version_by_reading_the_file():
    text = pathlib.Path(archcomp_tf.__file__).read_text()
    # As setup.py has it, which cannot import what is not installed yet.
    versions = re.findall(r'__version__ = "([^"]+)"', text)
    assert versions == [archcomp_tf.__version__]


def test_the_version_is_one_that_packaging_tools_accept():
    assert re.fullmatch(_PEP_440, archcomp_tf.__version__)


@pytest.mark.parametrize(
    ("machine", "wheel"),
    [
        ("x86_64", "tensorflow-cpu"),
        ("AMD64", "tensorflow-cpu"),  # as Windows calls it
        ("arm64", "tensorflow"),  # as macOS calls it
        ("aarch64", "tensorflow"),
    ],
)
def test_the_tensorflow_for_cpus_is_one_that_is_built_for_the_machine(
    machine, wheel
):
    place = {"extra": "cpu", "platform_machine": machine}
    requirements = map(Requirement, importlib.metadata.requires("archcomp_tf"))
    wheels = [
        requirement.name
        for requirement in requirements
        if requirement.name in ("tensorflow", "tensorflow-cpu")
        and requirement.marker.evaluate(place)
    ]
    assert wheels == [wheel]
