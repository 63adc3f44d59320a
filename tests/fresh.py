"""Programs in a Python of their own, which has loaded nothing yet."""

import json
import os
import pathlib
import signal
import subprocess
import sys


def _call(program, arguments, variables) -> dict:
    """What `subprocess` is told: what is found here is found there."""
    start = ["-c", program] if isinstance(program, str) else [program]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return {
        "args": [sys.executable, *start, *map(str, arguments)],
        "env": os.environ | path | variables,
        "text": True,
    }


def run(
    program: str | pathlib.Path, *arguments, cwd=None, **variables: str
) -> subprocess.CompletedProcess:
    """Runs a program to its end.

    Args:
      program: its source, or the path of its file.
      *arguments: of the program.
      cwd: its working directory.
      **variables: of its environment, beside those of this process.

    Returns:
      How it ended and all that it wrote.
    """
    call = _call(program, arguments, variables)
    return subprocess.run(**call, cwd=cwd, capture_output=True)


def output(program, *arguments, cwd=None, **variables: str) -> str:
    """What a program prints that has to end well; see `run`."""
    done = run(program, *arguments, cwd=cwd, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(
    program, *arguments, cwd=None, stderr=None, **variables: str
) -> subprocess.Popen:
    """Starts a program in a session of its own; for the rest see `run`."""
    return subprocess.Popen(
        **_call(program, arguments, variables),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        # As in a terminal: what a shell runs in the background has no Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def loaded_by(statement: str, **variables: str) -> set[str]:
    """Top-level packages that are loaded once a statement is done."""
    says = "import json, sys; print(json.dumps([*sys.modules]))"
    lines = output(f"{statement}\n{says}", **variables).splitlines()
    return {name.partition(".")[0] for name in json.loads(lines[-1])}
