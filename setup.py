"""Packaging of archcomp_tf."""

import pathlib
import re

import setuptools

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
    r'__version__ = "([^"]+)"', (_ROOT / "archcomp_tf/__init__.py").read_text()
).group(1)
_X86 = "platform_machine in 'x86_64 AMD64'"
_OTHER = "platform_machine not in 'x86_64 AMD64'"

setuptools.setup(
    name="archcomp_tf",
    version=_VERSION,
    description=(
        "Architecture compression for Keras 3: a large image classifier in, "
        "a much smaller plain keras.Model out."
    ),
    long_description=(_ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=["archcomp_tf"],
    python_requires=">=3.10,<3.14",
    install_requires=[
        "absl-py>=2.1",
        "etils>=1.10",
        "grpcio>=1.60",
        "joblib>=1.4",
        "keras>=3.12",
        "keras-tuner>=1.4.8",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        # Used by tensorflow-datasets 4.9.10, which does not name it.
        "importlib_resources",
        "six",  # the same for keras-tuner 1.4.8
        "tensorboard>=2.20",  # tensorflow 2.21 no longer brings it
        "tensorflow-datasets>=4.9.7",
    ],
    # TensorFlow comes in several wheels for one module: choose one.  That for
    # CPUs alone is not built for ARM, where the other has no GPU either.
    extras_require={
        "cpu": [
            f"tensorflow-cpu>=2.20; {_X86}",
            f"tensorflow>=2.20; {_OTHER}",
        ],
        "gpu": ["tensorflow[and-cuda]>=2.20"],
        # What bin/benchmark_*.py compare with, and their pictures.
        "benchmarks": ["matplotlib>=3.9", "optuna>=4.0"],
        "onnx": ["tf2onnx>=1.17"],
        "dev": [
            "build>=1.2",
            "hypothesis>=6.100",
            "jax>=0.6",  # a second backend to train on
            "packaging>=24.0",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "ruff>=0.12",
            # The runtime for microcontrollers, to try files on.
            f"tflite-micro>=0.dev20261023; sys_platform == 'linux' and {_X86}",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
