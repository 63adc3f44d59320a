"""The processes that train for labels, and how they find each other.

They talk by KerasTuner's own protocol.  Its environment variables say what a
process is: with KERASTUNER_TUNER_ID=chief it listens at KERASTUNER_ORACLE_IP
and KERASTUNER_ORACLE_PORT; with any other id it is a worker of the chief there,
and shares nothing else with it: it is sent the images and the teacher's logits.
The connection is not encrypted; it is for a network that you trust.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from archcomp_tf import processes
from archcomp_tf.task import Task
from archcomp_tf.trials import (
    ArchitectureOracle,
    LabelingTuner,
    OtherSessionError,
)

_LOGGER = logging.getLogger(__name__)

_TASK_METHOD = "/archcomp_tf.Labeling/GetTask"
_CHUNK_BYTES = 1 << 20  # of a task on its way; gRPC takes 4 MB at most
_THIS_MACHINE = "127.0.0.1"
# Those that are sent the task, each to its end, and one for all questions.
_NUM_THREADS = 64


def start_server(
    oracle: ArchitectureOracle, task: Task, address: str | None
) -> tuple[grpc.Server, int]:
    """Listens for workers.

    Args:
      oracle: hands out what they train.
      task: how they train it.
      address: "ip:port" for workers on other machines, if there are any.

    Returns:
      The server, started, and its port for the workers of this machine, which
      may not be reached by the address for others.

    Raises:
      keras_tuner.errors.FatalError: it cannot listen there.
    """
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(_NUM_THREADS),
        interceptors=(_OneAtATime(),),
    )
    # KerasTuner's own `start_server` reads its address from this process'
    # environment, which every other tuner here would read too.
    protos.get_service_grpc().add_OracleServicer_to_server(
        _Servicer(oracle), server
    )
    server.add_generic_rpc_handlers((_TaskHandler(task, oracle.session),))
    port = server.add_insecure_port(f"{_THIS_MACHINE}:0")
    try:
        if address:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise keras_tuner.errors.FatalError(
            f"Cannot listen for workers at {address}: {error}"
        ) from error
    server.start()
    if address:
        _LOGGER.info("workers are waited for at %s", address)
    return server, port


def start_worker(
    tuner_id: str, task: processes.Shared, port: int, num_workers: int
) -> multiprocessing.Process:
    """Starts a worker on this machine.

    Args:
      tuner_id: what it is called.
      task: the `Task`, how it trains.
      port: where the chief listens.
      num_workers: how many share this machine.
    """
    with processes.side_by_side(
        num_workers,
        KERASTUNER_TUNER_ID=tuner_id,
        KERASTUNER_ORACLE_IP=_THIS_MACHINE,
        KERASTUNER_ORACLE_PORT=str(port),
    ) as context:
        worker = context.Process(target=_work_here, args=(task,), daemon=True)
        worker.start()
    return worker


def _work_here(task: processes.Shared) -> None:
    processes.end_with_parent()
    _go_round_proxies()
    _work(task.get())


def is_worker() -> bool:
    """Whether KerasTuner's environment variables make this a worker."""
    return "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "chief")


def take_chief_address() -> str | None:
    """Where this process is to listen, if the variables make it a chief.

    They are taken out of the environment: each other tuner of KerasTuner in
    this process would take itself for that chief.

    Raises:
      ValueError: one of the variables is missing, or they make it a worker.
    """
    if "KERASTUNER_TUNER_ID" not in os.environ:
        return None
    if is_worker():
        raise ValueError(
            "Expected KERASTUNER_TUNER_ID=chief in a process that compresses; "
            f"got {os.environ['KERASTUNER_TUNER_ID']!r}: a worker runs "
            "bin/label.py."
        )
    address = _address()
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        del os.environ[f"KERASTUNER_{name}"]
    return address


def work() -> None:
    """Trains what the chief hands out, until there is no more.

    The chief's address is in KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT,
    and it is waited for.  Where another chief takes its place, the worker goes
    on with what that one trains.

    Raises:
      ValueError: one of the variables is missing.
      keras_tuner.errors.FatalError: the task cannot be trained on, or no chief
        answered for an hour.
    """
    address = _address()
    _go_round_proxies()
    processes.end_with_parent()
    while True:
        _LOGGER.info("waiting for the chief at %s", address)
        try:
            with (
                _answered(address),
                grpc.insecure_channel(address) as channel,
            ):
                session, *chunks = channel.unary_stream(_TASK_METHOD)(
                    b"", wait_for_ready=True, timeout=3600
                )
            task = Task.from_bytes(b"".join(chunks))
            _LOGGER.info("labelling %s", task.dataset.name)
            _work(task, session.decode())
            return
        except OtherSessionError as error:
            _LOGGER.info("%s", error)
        except grpc.RpcError as error:  # it went away amid its task
            _LOGGER.warning("the chief: %s", error.details())


def _work(task: Task, session: str | None = None) -> None:
    """The life of a worker process: trains what the oracle hands out."""
    oracle = ArchitectureOracle(lambda *_: None, waits=True)
    tuner = LabelingTuner(oracle, task, session)
    while True:
        try:
            # Of a person, where it was started by one.
            with contextlib.suppress(KeyboardInterrupt), _answered(_address()):
                tuner.search()
            return
        except grpc.RpcError as error:
            # The chief went away, or this trial was given to another worker.
            _LOGGER.warning("the chief: %s", error.details())


@contextlib.contextmanager
def _answered(address: str) -> Iterator[None]:
    """Raises FatalError where the chief there does not answer in time."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
        raise keras_tuner.errors.FatalError(
            f"No chief answered at {address} for an hour."
        ) from error


def _go_round_proxies() -> None:
    """Lets gRPC talk to the chief itself, where there is a proxy for HTTP.

    It would ask that for all, even for what is on this machine.
    """
    os.environ["no_grpc_proxy"] = os.environ["KERASTUNER_ORACLE_IP"]


class _OneAtATime(grpc.ServerInterceptor):
    """Lets one question after the other reach the oracle.

    A task on its way, which may take minutes, keeps none of them waiting.
    """

    def __init__(self):
        self._lock = threading.Lock()

    def intercept_service(self, continuation, handler_call_details):
        handler = continuation(handler_call_details)
        if handler is None or handler.response_streaming:
            return handler

        def answer(request, context):
            with self._lock:
                return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )


class _Servicer(oracle_chief.OracleServicer):
    """KerasTuner's, for workers that outlive a chief or were given up."""

    def GetTrial(self, request, context):
        self._check(request.trial_id, context)
        return super().GetTrial(request, context)

    def UpdateTrial(self, request, context):
        self._check(request.trial_id, context)
        return super().UpdateTrial(request, context)

    def EndTrial(self, request, context):
        self._check(request.trial.trial_id, context)
        return super().EndTrial(request, context)

    def _check(self, trial_id: str, context) -> None:
        if not self.oracle.knows(trial_id):
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"trial {trial_id} is not, or no longer, handed out",
            )
        self.oracle.hear_of(trial_id)


class _TaskHandler(grpc.GenericRpcHandler):
    """Sends the task to workers that share nothing with the chief.

    First the oracle's session, by which they know whose trials they can train.
    """

    def __init__(self, task: Task, session: str):
        self._task = task
        self._session = session

    def service(self, handler_call_details):
        if handler_call_details.method != _TASK_METHOD:
            return None
        return grpc.unary_stream_rpc_method_handler(self._stream)

    def _stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        del request, context
        yield self._session.encode()
        content = self._task.to_bytes()
        for start in range(0, len(content), _CHUNK_BYTES):
            yield content[start : start + _CHUNK_BYTES]


def _address() -> str:
    """Where the chief listens, by KerasTuner's environment variables.

    Raises:
      ValueError: one of them is missing.
    """
    names = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    for name in names:
        if name not in os.environ:
            raise ValueError(
                "Expected KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and "
                f"KERASTUNER_ORACLE_PORT together; {name} is not set."
            )
    return ":".join(os.environ[name] for name in names)
