"""What TensorBoard shows: scalars, HParams, the embedding in its projector.

HParams needs a run, which is a folder, for each row of its table.  They are
better kept apart from the scalars, whose page shows no run by default where
there are more than 40.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import summary_v2 as hparams_api
from tensorboard.plugins.scalar import summary_v2 as scalar_api
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from archcomp_tf.corpus import Record
from archcomp_tf.latent import LatentMap, shown_steps
from archcomp_tf.ledger import SearchResult

_METRICS = ("accuracy", "log10_params")


@dataclasses.dataclass(frozen=True)
class Session:
    """A training, as a row of HParams.

    Attributes:
      name: of its run, which no other has.
      hparams: what was chosen.
      metrics: what came out: some of "accuracy" and "log10_params".
    """

    name: str
    hparams: Mapping[str, bool | int | float | str]
    metrics: Mapping[str, float]


def write_scalars(
    directory: str | os.PathLike, scalars: Mapping[str, Sequence[float]]
) -> None:
    """Writes TensorBoard scalars.

    Args:
      directory: of the event file.
      scalars: name -> values of steps 0, 1, 2, ...
    """
    _write_events(
        directory,
        (
            (step, scalar_api.scalar_pb(name, value))
            for name, values in scalars.items()
            for step, value in enumerate(values)
        ),
    )


def write_search(directory: str | os.PathLike, result: SearchResult) -> None:
    """Writes a search's labels, in their order, and its rounds' descents.

    Args:
      directory: of TensorBoard's runs.
      result: of the search.
    """
    labelled = result.labelled
    write_scalars(
        os.path.join(directory, "labels"),
        {
            "label/accuracy": [r.accuracy for r in labelled],
            "label/log10_params": [
                float(np.log10(r.num_params)) for r in labelled
            ],
            "label/objective": [result.score(r) for r in labelled],
        },
    )
    # One run for all rounds: TensorBoard shows no more than 40 by itself.
    write_scalars(
        os.path.join(directory, "descents"),
        {
            f"descent_objective/round_{index:02d}": trace
            for index, trace in enumerate(result.traces)
        },
    )


def label_sessions(labelled: Sequence[Record]) -> list[Session]:
    """Labels as rows of HParams.

    A network's hyperparameters are its layers: how many, and how wide the one
    in each slot is, 0 where it is removed.

    Args:
      labelled: records whose labels did not fail.
    """
    return [
        Session(
            f"label_{index:03d}",
            {
                "experiment": "label",
                "architecture": str(record.architecture.compact),
                "layers": len(record.architecture.compact.layers),
            }
            | {
                f"slot_{slot:02d}_width": layer.filters
                for slot, layer in enumerate(record.architecture.layers)
                if layer.filters or layer.kind == "identity"
            },
            {
                "accuracy": record.accuracy,
                "log10_params": float(np.log10(record.num_params)),
            },
        )
        for index, record in enumerate(labelled)
    ]


def trial_sessions(
    trials: Sequence[tuple[Mapping[str, float], float]],
) -> list[Session]:
    """The trials of a tuning as rows of HParams.

    Args:
      trials: what was tuned of the recipe, and the validation accuracy, of
        each.
    """
    return [
        Session(
            f"tuning_{index:03d}",
            {"experiment": "tuning"}
            | {f"tuned_{name}": value for name, value in recipe.items()},
            {"accuracy": accuracy},
        )
        for index, (recipe, accuracy) in enumerate(trials)
    ]


def write_hparams(
    directory: str | os.PathLike, sessions: Sequence[Session]
) -> None:
    """Writes the table of HParams.

    Args:
      directory: of the table, replaced if it is there; TensorBoard reads one
        table only, so that all of its rows are written at once.
      sessions: its rows.
    """
    directory = pathlib.Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    names = dict.fromkeys(
        itertools.chain.from_iterable(session.hparams for session in sessions)
    )
    table = hparams_api.hparams_config_pb(
        hparams=[
            hparams_api.HParam(name, _domain(name, sessions)) for name in names
        ],
        metrics=[
            hparams_api.Metric(f"hparams/{name}", display_name=name)
            for name in _METRICS
        ],
    )
    _write_events(directory, [(0, table)])
    for session in sessions:
        row = hparams_api.hparams_pb(
            dict(session.hparams), trial_id=session.name
        )
        values = [
            scalar_api.scalar_pb(f"hparams/{name}", value)
            for name, value in session.metrics.items()
        ]
        _write_events(
            directory / session.name, [(0, pb) for pb in (row, *values)]
        )


def _write_events(
    directory: str | os.PathLike,
    summaries: Iterable[tuple[int, summary_pb2.Summary]],
) -> None:
    """Writes one event file of (step, summary), in place of an older one."""
    for old in pathlib.Path(directory).glob("events.out.tfevents.*"):
        old.unlink()  # of a stage that was killed, of a student that was left
    # TensorBoard's own writer: TensorFlow's needs TensorFlow.
    writer = EventFileWriter(os.fspath(directory))
    for step, summary in summaries:
        writer.add_event(
            event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
        )
    writer.close()


def _domain(
    name: str, sessions: Sequence[Session]
) -> hparams_api.Domain | None:
    """What values a hyperparameter has."""
    values = [s.hparams[name] for s in sessions if name in s.hparams]
    if not isinstance(values[0], str):
        return hparams_api.RealInterval(float(min(values)), float(max(values)))
    if name == "architecture":
        return None  # hundreds of them: to be searched, not ticked
    return hparams_api.Discrete(sorted(set(values)))


def write_embedding(
    directory: str | os.PathLike, labelled: Sequence[Record], latent: LatentMap
) -> None:
    """Writes networks and descents for the projector, and a descent's trace.

    Args:
      directory: of the run, replaced if it is there.
      labelled: N records.
      latent: their encodings, and descents.
    """
    directory = pathlib.Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    # The projector looks for its files where there are events too.
    write_scalars(
        directory,
        {
            "descent/accuracy": latent.accuracy[:, 0],
            "descent/log10_params": latent.log_params[:, 0],
        },
    )
    rows = [
        (
            str(record.architecture.compact),
            "label",
            0,
            record.accuracy,
            np.log10(record.num_params),
        )
        for record in labelled
    ]
    points = [*latent.z]
    num_steps, num_descents = latent.decoded.shape
    for at in itertools.product(shown_steps(num_steps), range(num_descents)):
        step, descent = at
        start = "a label" if descent else "the teacher"
        rows.append(
            (
                latent.decoded[at],
                f"descent from {start}",
                step,
                latent.accuracy[at],
                latent.log_params[at],
            )
        )
        points.append(latent.paths[at])
    columns = ("architecture", "point", "step", "accuracy", "log10_params")
    _write_table(directory / "metadata.tsv", [columns, *rows])
    _write_table(directory / "z.tsv", points)
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "networks"
    embedding.tensor_path = "z.tsv"
    embedding.metadata_path = "metadata.tsv"
    projector.visualize_embeddings(os.fspath(directory), config)


def _write_table(path: pathlib.Path, rows: Sequence[Sequence]) -> None:
    """Writes tab-separated values."""
    lines = ("\t".join(_cell(value) for value in row) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
