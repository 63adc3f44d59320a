"""Flags, seed, one call: what all binaries in this folder share."""

import ast
import contextlib
import errno
import logging
import sys

from absl import app, flags
from ml_collections import config_flags

from archcomp_tf import progress, quiet

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="A file in configs/; change a field of it with --config.FIELD.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run: results are left and resumed there."
)

_INTERRUPTED = 130  # as shells have it: 128 and the signal


def run(stage: str | None = None) -> None:
    """Runs a stage as a program, by default all that are not done."""
    flags.mark_flags_as_required(["config", "workdir"])
    for flag in (_CONFIG, _WORKDIR):  # so that --help shows them
        flags.FLAGS.register_key_flag_for_module(
            sys.argv[0], flags.FLAGS[flag.name]
        )
    app.run(lambda argv: sys.exit(_main(argv, stage)), flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    # The file that it names loads Keras.
    if any(argument.startswith("--config") for argument in argv):
        quiet.load_keras()
    try:
        arguments = flags.FLAGS(argv)
    except flags.Error as error:  # perhaps with the traceback of a config
        sys.exit(f"error: {str(error).strip().splitlines()[-1]}")
    except (AttributeError, KeyError) as error:  # a field no config has
        reason = str(error.args[0])
        if reason.startswith(("'", '"')):  # an error's repr within an error
            with contextlib.suppress(SyntaxError):  # there is more behind it
                reason = ast.literal_eval(reason)
        reason = " ".join(reason.split())
        sys.exit(f"error: --config has no field {reason}")
    # What libraries say of themselves is left out, --verbosity=0 shows it.
    # Not as a default, which absl's `app` sets to 0.
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = -1
    return arguments


def _main(argv: list[str], stage: str | None) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    _log_to_stderr()
    # Loaded late: TensorFlow takes seconds that --help need not wait for.
    import keras
    import keras_tuner

    from archcomp_tf import (
        backend,
        labeling,
        ledger,
        limits,
        markdown_report,
        pipeline,
        training,
        workdir,
        workers,
    )
    from archcomp_tf.run import Run

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    try:
        if workers.is_worker():  # whatever the stage, it trains for the chief
            workers.work()
            return 0
        keras.utils.set_random_seed(_CONFIG.value.seed)
        with contextlib.closing(Run(_CONFIG.value, _WORKDIR.value)) as run:
            if stage is not None:
                pipeline.run_stage(run, stage)
            else:
                results = pipeline.run_stages(run).results
                print(markdown_report.results_text(results))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return _INTERRUPTED
    except (
        ValueError,
        OSError,
        labeling.LabelError,
        ledger.EvaluationError,
        limits.LimitError,
        training.DivergedError,
        backend.BackendError,
        workdir.MissingStageError,
        keras_tuner.errors.FatalError,
    ) as error:
        # The traceback is there for those who ask: --verbosity=1.
        logging.getLogger("absl").debug("%s", error, exc_info=True)
        goes_on = ""
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            goes_on = (
                f" for {_WORKDIR.value}; with more, the same command goes on"
            )
        print(f"error: {error}{goes_on}", file=sys.stderr)
        return 1
    return 0


def _log_to_stderr() -> None:
    """One line a step, and not by absl's own handler."""
    logger = logging.getLogger("archcomp_tf")
    logger.addHandler(progress.lines_to_stderr())
    logger.setLevel(logging.INFO)
    logger.propagate = False
