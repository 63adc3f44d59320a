"""The record file: every labelled architecture, one JSON object a line.

The file is append-only and has one writer.  A record is written and flushed
whole before the next training starts, so that a killed run loses at most the
network it was training; a last line that was cut off is dropped.  A network
whose label failed may have a second line, which counts.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import math
import numbers
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import IO

from archcomp_tf.architecture import Architecture, check_architecture
from archcomp_tf.cost import CountParams

_LOGGER = logging.getLogger(__name__)

OK = "ok"
FAILED = "failed"


class CorpusError(ValueError):
    """A record file that cannot be read or written."""


@dataclasses.dataclass(frozen=True)
class Record:
    """A labelled architecture.

    Attributes:
      architecture: the network.
      accuracy: validation accuracy in [0, 1]; NaN where the label failed.
      num_params: weights of the network, trainable or not.
      status: "ok" or "failed".
      reason: why a label failed.
      seed: of the training.
      recipe: name of the training's recipe.
      seconds: wall time of the label.
      measured: further columns, such as {"latency_ms": 3.2}.

    Raises:
      TypeError: the architecture is none.
      ValueError: the status is neither, the accuracy of a label that did not
        fail is none in [0, 1], or the number of parameters not whole and
        positive.
    """

    architecture: Architecture
    accuracy: float
    num_params: int
    status: str = OK
    reason: str = ""
    seed: int = 0
    recipe: str = ""
    seconds: float = 0.0
    measured: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_architecture("what a record is of", self.architecture)
        # Plain numbers, as JSON has them, of NumPy's.
        object.__setattr__(self, "accuracy", float(self.accuracy))
        object.__setattr__(self, "num_params", whole_params(self.num_params))
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "seconds", float(self.seconds))
        measured = {name: float(v) for name, v in self.measured.items()}
        object.__setattr__(self, "measured", measured)
        if self.status not in (OK, FAILED):
            raise ValueError(
                f"Expected a status of {OK!r} or {FAILED!r}; got "
                f"{self.status!r}."
            )
        if self.status == OK and not 0 <= self.accuracy <= 1:
            raise ValueError(
                f"Expected an accuracy in [0, 1]; got {self.accuracy}."
            )

    def target(self, name: str) -> float:
        """What a head may learn: "accuracy", or a column of `measured`.

        Raises:
          KeyError: the record has no such column.
        """
        if name == "accuracy":
            return self.accuracy
        if name not in self.measured:
            raise KeyError(
                f"Expected a column {name!r} in the record of "
                f"{self.architecture}; got {sorted(self.measured)}."
            )
        return self.measured[name]

    @property
    def key(self) -> tuple[str, int, str]:
        """What makes a label another one: network, seed and recipe."""
        return (self.architecture.fingerprint, self.seed, self.recipe)

    def to_json(self) -> str:
        """One line of JSON; a failed label's accuracy is null."""
        config = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
        }
        config["architecture"] = self.architecture.to_dict()
        if math.isnan(self.accuracy):
            config["accuracy"] = None
        return json.dumps(config, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The inverse of `to_json`."""
        config = json.loads(text)
        config["architecture"] = Architecture.from_dict(config["architecture"])
        if config["accuracy"] is None:
            config["accuracy"] = math.nan
        return cls(**config)


def write_records(path: str | os.PathLike, records: Iterable[Record]) -> None:
    """Writes a record file, one line a record."""
    lines = (record.to_json() + "\n" for record in records)
    pathlib.Path(path).write_text("".join(lines))


def whole_params(num_params: float) -> int:
    """A number of parameters as an int, of whatever kind a table has it.

    Raises:
      ValueError: it is not whole and positive, as one in thousands would be.
    """
    if (
        not isinstance(num_params, numbers.Real)
        or num_params % 1 != 0
        or num_params < 1
    ):
        raise ValueError(
            "Expected a whole and positive number of parameters; got "
            f"{num_params!r}."
        )
    return int(num_params)


def check_sizes(records: Iterable[Record], count_params: CountParams) -> None:
    """Raises ValueError for labels of networks that are of other sizes here.

    They were made for other images or classes: the accuracies say nothing.

    Args:
      records: of which those that did not fail are looked at.
      count_params: exact parameters of an architecture.
    """
    for record in records:
        if record.status != OK:
            continue
        size = count_params(record.architecture)
        if record.num_params != size:
            raise ValueError(
                "Expected labels of images and classes like these; got "
                f"{record.architecture.compact} with {record.num_params} "
                f"parameters, where it has {size}."
            )


class Corpus:
    """Records, in the order in which they were labelled.

    Args:
      path: the record file, read if it is there; None keeps the records in
        memory alone.

    Raises:
      CorpusError: a line of the file is not a record, or it is a folder.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        self._path = None if path is None else pathlib.Path(path)
        self._records: dict[tuple[str, int, str], Record] = {}
        self._file: IO[bytes] | None = None
        if self._path is not None and self._path.is_dir():
            raise CorpusError(
                f"{self._path}: expected a record file; got a folder (of a "
                "run it is corpus/records.jsonl)."
            )
        if self._path is not None and self._path.exists():
            self._read()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def get(self, key: tuple[str, int, str]) -> Record | None:
        """The record with this `Record.key`, if there is one."""
        return self._records.get(key)

    def open(self) -> None:
        """Makes sure that records can be appended; `append` does it too.

        Raises:
          CorpusError: another process appends to the file.
          OSError: the file cannot be written to.
        """
        if self._path is None or self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self._path, "a+b", buffering=0)  # noqa: SIM115, kept open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise CorpusError(
                f"{self._path}: another process is labelling into this file."
            ) from error
        self._file = file
        # What the last writer added since the file was read, or left cut off.
        self._records.clear()
        file.truncate(self._read())

    def close(self) -> None:
        """Lets another process append."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def append(self, record: Record) -> None:
        """Adds a record and, before it returns, puts it on the disk.

        It takes the place of a failed one with the same key.

        Raises:
          ValueError: there is a record with the same key that did not fail.
          CorpusError: another process appends to the file.
          OSError: it could not be written; the file is as it was.
        """
        self.open()
        known = self._records.get(record.key)
        if known is not None and known.status != FAILED:
            raise ValueError(f"There is a record of {record.key} already.")
        if self._file is not None:
            size = os.fstat(self._file.fileno()).st_size
            rest = (record.to_json() + "\n").encode()
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(size)
                raise
        self._records[record.key] = record

    def _read(self) -> int:
        """Reads the whole lines of the file; how many bytes they are."""
        whole, newline, rest = self._path.read_bytes().rpartition(b"\n")
        if rest:
            _LOGGER.warning("%s: left out a last line cut off.", self._path)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = Record.from_json(line.decode())
            except (ValueError, KeyError, TypeError) as error:
                raise CorpusError(
                    f"{self._path}, line {number}: expected a record; got "
                    f"{line[:80]!r} ({error})."
                ) from error
            self._records[record.key] = record
        return len(whole) + len(newline)
