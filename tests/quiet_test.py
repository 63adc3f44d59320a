"""Tests of what is left out of a program's output."""

import os

import fresh
import pytest

from archcomp_tf.quiet import silent_stderr


def test_what_native_code_writes_is_dropped_and_what_comes_after_is_not(capfd):
    with silent_stderr():
        os.write(2, b"of itself")
    os.write(2, b"of the run")
    assert capfd.readouterr().err == "of the run"


def test_an_error_puts_stderr_back(capfd):
    with pytest.raises(ValueError, match="wrong"), silent_stderr():
        raise ValueError("wrong")
    os.write(2, b"of the run")
    assert capfd.readouterr().err == "of the run"


@pytest.mark.parametrize(
    "source",
    [
        "from archcomp_tf import quiet; quiet.load_keras()",
        "import runpy; "
        "runpy.run_module('archcomp_tf.quiet', run_name='__mp_main__')",
    ],
)
def test_keras_is_loaded_in_silence(source):
    done = fresh.run(f"{source}; import sys; print('keras' in sys.modules)")
    assert (done.stdout, done.stderr) == ("True\n", "")
