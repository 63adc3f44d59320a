"""Fills the corpus: trains architectures and records their accuracy.

`Labeler` is the `evaluate` that a search calls.  A KerasTuner oracle hands out
architectures, one a trial, and tuners train them: one tuner in this process, or
several in worker processes, here and on other machines (`workers.py`).  Labels
depend on the network, the seed and the recipe alone, not on the order in which
networks are labelled, so a search that comes back to a network, or starts anew
after it was killed, takes its label from the corpus.  Where most of these
failed, those are tried again.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import threading
import time
from collections.abc import Sequence

import grpc
import keras_tuner

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Corpus, CorpusError, Record
from archcomp_tf.cost import num_params
from archcomp_tf.processes import Shared, WorkerError
from archcomp_tf.progress import Progress
from archcomp_tf.task import Task
from archcomp_tf.trials import IDLE_SECONDS, ArchitectureOracle, LabelingTuner
from archcomp_tf.workers import start_server, start_worker

_LOGGER = logging.getLogger(__name__)

_GRACE_SECONDS = 30.0  # for a training that is to stop itself
_MAX_KILLED_IDLE = 10  # workers in a row, before any of them gave a label


class LabelError(RuntimeError):
    """Why a network has no label."""


class Labeler:
    """Architectures -> validation accuracies, by brief training.

    Args:
      task: how networks are trained.
      corpus: read before a network is trained, appended to afterwards.
      num_workers: 1 trains in this process, where a training is stopped for
        taking too long only between two epochs; more start so many processes,
        at the first call, which share the cores.  0 trains on other machines
        alone.
      address: "ip:port" where workers on other machines are waited for.

    Raises:
      ValueError: no workers here, and no address for others to come to.
    """

    def __init__(
        self,
        task: Task,
        corpus: Corpus,
        *,
        num_workers: int = 1,
        address: str | None = None,
    ):
        if num_workers < 1 and not address:
            raise ValueError(
                f"Expected at least 1 worker; got {num_workers}. Workers on "
                "other machines alone need an address to come to, see "
                "KERASTUNER_TUNER_ID."
            )
        self._address = address
        self._task = task
        self._corpus = corpus
        self._num_workers = num_workers
        self._in_process = num_workers == 1 and not self._address
        self._oracle = ArchitectureOracle(
            self._record, waits=not self._in_process
        )
        self._tuner = (
            LabelingTuner(self._oracle, task) if self._in_process else None
        )
        self._progress: Progress | None = None
        self._server: grpc.Server | None = None
        self._workers: dict[str, multiprocessing.Process] = {}
        self._num_killed_idle = 0  # workers, since the last label
        self._again = _most_failed(corpus)
        self._ended = threading.Event()
        self._error: Exception | None = None

    def __call__(
        self, architectures: Sequence[Architecture]
    ) -> list[float | LabelError]:
        """Labels architectures, the known ones from the corpus.

        Args:
          architectures: N networks.

        Returns:
          N validation accuracies in [0, 1], the reason in place of one that
          failed.

        Raises:
          WorkerError: a worker process ended by an error of its own, one after
            the other was killed, or none can be started.
          keras_tuner.errors.FatalError: labels cannot be recorded, or the task
            cannot be trained on.
        """
        seed, recipe = self._task.seed, self._task.recipe.name
        keys = [(a.fingerprint, seed, recipe) for a in architectures]
        todo = {
            key: architecture
            for key, architecture in zip(keys, architectures, strict=True)
            if self._corpus.get(key) is None or key in self._again
        }
        self._again -= todo.keys()
        if todo:
            self._open_corpus()  # before the first training, not after it
            self._progress = Progress("label", len(todo))
            self._oracle.submit(list(todo.values()))
            if self._in_process:
                self._tuner.search()
            else:
                self._wait_for_workers()
        records = [self._corpus.get(key) for key in keys]
        return [
            LabelError(record.reason)
            if record.status == FAILED
            else record.accuracy
            for record in records
        ]

    def try_again(self, architecture: Architecture) -> None:
        """Where its label failed before, it is trained when asked for next."""
        task = self._task
        key = (architecture.fingerprint, task.seed, task.recipe.name)
        record = self._corpus.get(key)
        if record is not None and record.status == FAILED:
            self._again.add(key)

    def close(self) -> None:
        """Ends the workers, if there are any."""
        self._oracle.waits = False  # distant workers are told when they ask
        for worker in self._workers.values():
            worker.terminate()
            worker.join()
        if self._server is not None:
            if self._address:
                time.sleep(20 * IDLE_SECONDS)
            self._server.stop(grace=None)
        self._workers, self._server = {}, None

    @functools.cached_property
    def _shared_task(self) -> Shared:
        return Shared(self._task)

    def _open_corpus(self) -> None:
        try:
            self._corpus.open()
        except (OSError, CorpusError) as error:
            # A search would take any other error for that of a network.
            raise keras_tuner.errors.FatalError(str(error)) from error

    def _record(
        self,
        architecture: Architecture,
        accuracy: float,
        seconds: float,
        reason: str,
    ) -> None:
        """Writes what came of a trial; also called from the server's thread."""
        try:
            dataset = self._task.dataset
            record = Record(
                architecture,
                accuracy,
                num_params(
                    architecture, dataset.input_shape, dataset.num_classes
                ),
                status=FAILED if reason else OK,
                reason=reason,
                seed=self._task.seed,
                recipe=self._task.recipe.name,
                seconds=round(seconds, 2),
            )
            self._corpus.append(record)
        except Exception as error:
            self._error = keras_tuner.errors.FatalError(
                f"The label of {architecture} could not be recorded: {error}"
            )
            raise self._error from error
        finally:
            self._ended.set()
        self._num_killed_idle = 0
        self._progress.advance(
            f"{record.num_params} parameters, {reason or f'{accuracy:.1%}'}"
        )

    def _wait_for_workers(self) -> None:
        """Returns when all that was submitted is recorded."""
        if self._server is None:
            self._server, self._port = start_server(
                self._oracle, self._task, self._address
            )
        while self._progress.done < self._progress.total:
            self._ended.wait(timeout=0.5)
            self._ended.clear()
            if self._error:
                self.close()
                raise self._error
            # A training stops itself between two epochs; what does not even
            # come to the end of one is ended from outside.
            limit = 2 * self._task.max_seconds + _GRACE_SECONDS
            for tuner_id in self._oracle.overdue(limit):
                if tuner_id in self._workers:
                    self._workers[tuner_id].kill()
                    self._workers.pop(tuner_id).join()
                self._oracle.fail(tuner_id, f"no result after {limit:.0f} s")
            for tuner_id in self._oracle.silent():
                if tuner_id not in self._workers:
                    _LOGGER.warning("worker %s was not heard of", tuner_id)
                    self._oracle.lose(tuner_id, "its worker was not heard of")
            self._replace_dead_workers()

    def _replace_dead_workers(self) -> None:
        """Starts workers anew that were killed, by the system or a person.

        Raises:
          WorkerError: see `__call__`.
        """
        for tuner_id, worker in list(self._workers.items()):
            if worker.is_alive():
                continue
            if worker.exitcode >= 0:
                self.close()
                raise WorkerError(
                    f"1 of {self._num_workers} labelling workers ended with "
                    f"exit code {worker.exitcode}; what it said stands above. "
                    "Labels so far are kept."
                )
            reason = f"its worker was killed by signal {-worker.exitcode}"
            _LOGGER.warning("%s: %s", tuner_id, reason)
            if tuner_id not in self._oracle.ongoing_trials:
                self._num_killed_idle += 1
            if self._num_killed_idle == _MAX_KILLED_IDLE:
                self.close()
                raise WorkerError(
                    f"{_MAX_KILLED_IDLE} labelling workers were killed before "
                    "they trained anything, the last by signal "
                    f"{-worker.exitcode}. If memory ran out, fewer of them "
                    "need less. Labels so far are kept."
                )
            self._oracle.lose(tuner_id, reason)
            del self._workers[tuner_id]
        for index in range(self._num_workers):
            tuner_id = f"worker{index}"
            if tuner_id not in self._workers:
                try:
                    self._workers[tuner_id] = start_worker(
                        tuner_id,
                        self._shared_task,
                        self._port,
                        self._num_workers,
                    )
                except OSError as error:  # not the network's fault
                    self.close()
                    raise WorkerError(
                        f"A labelling worker cannot be started: {error}. "
                        "Labels so far are kept."
                    ) from error


def _most_failed(corpus: Corpus) -> set[tuple[str, int, str]]:
    """Keys of the failed records, where these are the most.

    Searches give up then, see `ledger.Ledger.label`; whoever starts one again
    may have mended what made them fail.  Where they are few, others were
    labelled by what is known of them, and the search is to take the same way.
    """
    failed = {record.key for record in corpus if record.status == FAILED}
    return failed if 2 * len(failed) > len(corpus) else set()
