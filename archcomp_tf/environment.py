"""What a stage or a benchmark was made with: versions, machine and commit."""

from __future__ import annotations

import os
import pathlib
import platform
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
    # An installed package has no repository around it.
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        backend: sys.modules[backend].__version__,
        "machine": platform.machine(),
        "num_cpus": os.cpu_count(),
        "num_gpus": len(gpus),
        "gpu": gpus[0] if gpus else None,
        "commit": commit.stdout.strip() or None,
    }
