"""What a process runs with: versions, machine, memory and commit."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from typing import Any

import keras

from archcomp_tf.backend import gpu_names


def environment() -> dict[str, Any]:
    """Versions, machine and commit of this process, as JSON has them.

    Returns:
      Versions of Python, Keras and, by its name, of the backend; the machine,
      its cores and GPUs, and what the first GPU is called; the commit.  None is
      what there is not.
    """
    backend = keras.backend.backend()
    gpus = gpu_names()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        backend: sys.modules[backend].__version__,
        "machine": platform.machine(),
        "num_cpus": os.cpu_count(),
        "num_gpus": len(gpus),
        "gpu": gpus[0] if gpus else None,
        "commit": _commit(),
    }


def physical_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_installed(package: str, extra: str) -> None:
    """Raises ModuleNotFoundError where a package of an extra is missing.

    Args:
      package: its name.
      extra: of `setup.py`, that brings it.
    """
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(
            f"Expected the package {package}; it is not installed: pip install "
            f'-e ".[{extra}]" brings it.',
            name=package,
        )


def _commit() -> str | None:
    """Of this package's own repository; None where it is installed."""
    root = pathlib.Path(__file__).parents[1]
    # Around an installed package may be a repository of somebody else.
    if not (root / ".git").exists() or not shutil.which("git"):
        return None
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or None
