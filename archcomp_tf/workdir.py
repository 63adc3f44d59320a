"""The working directory of a compression: where each stage leaves its results.

    config.json                  what is being run, and where; another "what"
                                 is refused
    teacher/                     model.keras, logits.npy; training.npz of one
                                 that is trained here
    corpus/                      records.jsonl, every label; known.jsonl, those
                                 of another run
    autoencoder/                 model.keras
    search/                      records.jsonl, latent.npz, embedding.keras,
                                 embedding/, costs.json
    students/<fingerprint>/      model.keras; controls' too; <recipe>/, each
                                 training; of the student its files and tuning/
    controls/                    stage.json alone: its networks are in students/
    report/                      report.html, results.json, RESULTS.md
    tensorboard/                 scalars of every stage, the embedding
    hparams/                     a table of labels and trials, for TensorBoard
    lock                         held by the process that runs a stage

What a later stage reads appears whole or not at all, see `atomic.py`; of
records.jsonl, line by line.  A stage is done when its `stage.json` is there.

Only the standard library is needed here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from archcomp_tf.atomic import replacing

# Stage -> the binary that runs it alone, in the order of the flow.
STAGES = {
    "teacher": "bin/train_teacher.py",
    "corpus": "bin/label.py",
    "autoencoder": "bin/train_autoencoder.py",
    "search": "bin/search.py",
    "students": "bin/train_student.py",
    "controls": "bin/train_controls.py",
    "report": "bin/write_report.py",
}


# Where a run is made, not what: it goes on where these differ.
_MACHINE_FIELDS = ("num_workers", "data_dir")


class MissingStageError(RuntimeError):
    """A stage was asked for before the one that it builds on."""


class OtherConfigError(ValueError):
    """The directory belongs to a run with another config, data or teacher."""


class WorkingDirectory:
    """Paths and whole writes under one directory.

    Args:
      path: the directory; made if it is not there.
      config: what is run in it, as JSON values.

    Raises:
      OtherConfigError: it holds results of another config.
      BlockingIOError: another process runs a stage in it by another config.
      OSError: it cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike, config: dict[str, Any]):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        # As it is read back: JSON knows no tuples.
        self._config = json.loads(json.dumps(config))
        if self.read_json("config.json") != self._config:
            with self._lock():
                # A run that left nothing else was refused, or ended before it
                # began.
                left = {entry.name for entry in self.path.iterdir()}
                if left - {"config.json", "lock"}:
                    self._check_config()
                self.write_json("config.json", self._config)

    def _check_config(self) -> None:
        """Raises OtherConfigError where what lies here is of another config."""
        known = self.read_json("config.json")
        if known is None:
            return
        known, config = map(_comparable, (known, self._config))
        differing = _differences(known, config)
        if not differing:
            return
        labels = self.path / "corpus/records.jsonl"
        hint = ""
        if labels.exists() and known.get("dataset") == config.get("dataset"):
            hint = f"; config.corpus = {str(labels)!r} takes its labels"
        raise OtherConfigError(
            f"{self.path} holds a run with another config: "
            f"{'; '.join(differing)}. Give another workdir{hint}, or the "
            "config that the run was started with."
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from running a stage in here.

        Raises:
          BlockingIOError: another process does.
          OtherConfigError: meanwhile another process began a run with another
            config.
        """
        with self._lock():
            self._check_config()
            yield

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with open(self.path / "lock", "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(
                    f"Another process is running a stage in {self.path}."
                ) from error
            yield

    def stage(self, name: str) -> dict[str, Any]:
        """What stage `name` of `STAGES` recorded.

        Raises:
          MissingStageError: the stage has not been run here.
        """
        record = self.find_stage(name)
        if record is None:
            raise MissingStageError(
                f"{self.path} has no finished {name} stage: run {STAGES[name]} "
                "with the same --config and --workdir first."
            )
        return record

    def find_stage(self, name: str) -> dict[str, Any] | None:
        """What stage `name` recorded; None where it is not done."""
        return self.read_json(f"{name}/stage.json")

    def finish_stage(self, name: str, record: dict[str, Any]) -> None:
        """Records that stage `name` is done, and what came out."""
        self.write_json(f"{name}/stage.json", record)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file."""
        with self.replacing(name) as path:
            path.write_text(json.dumps(value, indent=2) + "\n")

    def replacing(
        self, name: str
    ) -> contextlib.AbstractContextManager[pathlib.Path]:
        """See `atomic.replacing`, of what lies at `name` in here."""
        return replacing(self.path / name)

    def read_json(self, name: str) -> Any:
        """What a JSON file holds; None where there is none."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that must not change while a run goes on.

    Without what belongs to the machine, and the folders of model, images and
    known labels: model and images are compared by digests, labels are copied.
    """
    kept = {k: v for k, v in config.items() if k not in _MACHINE_FIELDS}
    if str(kept.get("dataset", "")).endswith(".npz"):
        kept["dataset"] = os.path.basename(kept["dataset"])
    kept["corpus"] = os.path.basename(kept.get("corpus", ""))
    if teacher := kept.get("teacher"):
        name = os.path.basename(teacher.get("model", ""))
        kept["teacher"] = teacher | {"model": name}
    return kept


def _differences(known: Any, config: Any, name: str = "config") -> list[str]:
    """Every field that differs, as text."""
    if isinstance(known, dict) and isinstance(config, dict):
        return [
            text
            for key in sorted(known.keys() | config.keys())
            for text in _differences(
                known.get(key), config.get(key), f"{name}.{key}"
            )
        ]
    if known == config:
        return []
    return [f"{name} was {known!r} and is {config!r}"]
