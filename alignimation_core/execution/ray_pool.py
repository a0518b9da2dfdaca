"""Pool of Ray actors, which start where the cluster has room and go with their nodes."""

from __future__ import annotations

import logging
import pickle
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alignimation_core.api.errors import AlignimationError, in_one_line
from alignimation_core.execution import ray_worker
from alignimation_core.execution.executor import Lost
from alignimation_core.execution.ray_connection import GRACE, unreachable, within
from alignimation_core.execution.ray_worker import Home, Order
from alignimation_core.recipe.options import ExecutorOptions

LOG = logging.getLogger(__name__)
LIVES = 4
"""Workers that may die at an item before it is given up: not all of them died of it."""
HOPELESS = 5
"""Items given up, or workers dead as they start, with no answer between, that end the run."""
SILENCE = 20.0
"""Seconds without the cluster's head that end the run: after 60, Ray would end the process."""
STALL = 45.0
"""Seconds that end the run in which no call of Ray returns, though the head can be reached."""

ray.cloudpickle.register_pickle_by_value(ray_worker)


@dataclass(eq=False, slots=True)
class Worker:
    """A running actor, and the work that it has."""

    actor: Any
    home: Home
    order: Order | None = None


class Pool:
    """Ray actors, of which each does one batch at a time.

    ``tend`` is called by one thread, ``do`` by one thread a batch, and a keeper of its own does
    what may never return: Ray waits for a node that does not answer. A batch waits for an actor
    that runs, never for one that Ray has yet to find a place for.
    As long as there is no node, it waits for one for ``patience`` seconds.
    """

    def __init__(self, options: ExecutorOptions, patience: float) -> None:
        # Ray does not restart an actor: on a node that is gone it would hold on to its batch
        self._kind = ray.remote(
            num_cpus=1, num_gpus=options.gpus, max_restarts=0, max_task_retries=-1
        )(ray_worker.Worker)
        self._options, self._patience = options, patience
        self._head = ray.get_runtime_context().gcs_address
        self._here = ray.get_runtime_context().get_node_id()
        self._starting: dict[Any, Any] = {}
        self._workers: set[Worker] = set()
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._in_vain = 0
        self._looked, self._heard = 0.0, time.monotonic()
        self._slots = 0
        self._missed: float | None = None
        self._wanted = 0
        self._failure: AlignimationError | None = None
        self._tended, self._stalled = time.monotonic(), 0.0
        self._trouble = ""
        self._lock, self._stopped = Lock(), Event()
        self._look()
        self._keeper = Thread(target=self._keep, name="ray-keeper", daemon=True)
        self._keeper.start()

    @property
    def room(self) -> int:
        """How many workers there can be at once, at least 1."""
        return max(1, self._options.workers or self._slots)

    def tend(self, batches: int) -> None:
        """Have actors for so many batches.

        Raises:
            AlignimationError: no node is left, the head or the node here is gone or does not
                answer, or no worker starts.
        """
        self._wanted = batches
        now = time.monotonic()
        self._stalled += min(1.0, now - self._tended)  # a process may have slept in between
        self._tended = now
        if self._failure is not None:
            raise self._failure
        if self._stalled > STALL:
            raise AlignimationError(
                f"executor: the Ray cluster at {self._head} has not answered for {STALL:g} s"
                f"{self._trouble}; see that its nodes run, and run again: what is done is kept"
            )

    def waits_for(self) -> str:
        """Return what a run that hears nothing waits for."""
        if self._stalled > 1:
            return f"an answer of the Ray cluster at {self._head}{self._trouble}"
        homes = sorted({worker.home.address for worker in self._workers.copy()})
        if not homes:
            return "Ray's workers to start"
        return f"{self._wanted} batches of Ray's workers on {', '.join(homes)}"

    def _keep(self) -> None:
        """Start actors and look after the cluster until it is left, or fails."""
        while not self._stopped.wait(0.1):
            try:
                self._tend()
            except AlignimationError as error:
                self._failure = error
                return
            except Exception as error:  # Ray's, of which some have no common base; it may recover
                self._trouble = f": {in_one_line(error)}"
            else:
                self._trouble, self._stalled = "", 0.0

    def _tend(self) -> None:
        """Start actors for the batches there are, and let in those that have started."""
        if time.monotonic() - self._looked > 1:
            self._look()
        with self._lock:
            for _ in range(len(self._starting) + len(self._workers), min(self.room, self._wanted)):
                actor = self._kind.remote()
                self._starting[actor.home.remote()] = actor
            starting = list(self._starting)
            for home in ray.wait(starting, num_returns=len(starting), timeout=0)[0]:
                actor = self._starting.pop(home)
                try:
                    worker = Worker(actor, ray.get(home))
                except exceptions.RayTaskError as error:
                    raise _broken("worker", error) from error
                except exceptions.RayError as error:
                    self._fail(in_one_line(error))
                else:
                    self._workers.add(worker)
                    self._idle.put(worker)

    def do(self, order: Order, items: list[Any], stopped: Event, died: int = 0) -> list[Any]:
        """Do a batch; item by item if its worker dies, and again until its lives are used up.

        An item at which ``LIVES`` workers have died is answered by ``Lost``.

        Raises:
            AlignimationError: a node lacks what the work needs, or no worker survives.
            CancelledError: it was stopped.
            Exception: whatever the work raises.
        """
        packed = pickle.dumps(items)
        while True:
            worker = self._take(stopped)
            idled = worker.order not in (None, order)  # may have died since it had that other work
            try:
                how, what = self._ask(worker, order, packed, stopped)
            except exceptions.RayTaskError as error:
                raise _broken(f"node {worker.home.address}", error) from error
            except exceptions.RayError as error:
                self._dismiss(worker)
                if idled or self._is_lost_with_node(worker, error):
                    continue
                died += 1
                if len(items) > 1:
                    return [self.do(order, [item], stopped, died)[0] for item in items]
                if died >= LIVES:
                    reason = _reason(worker.home, error)
                    self._fail(reason)
                    return [Lost(f"it killed its Ray worker {died} times: {reason}")]
            else:
                self._in_vain = 0
                if how == "unfit":
                    raise AlignimationError(f"executor: Ray node {worker.home.address} {what}")
                if how == "raised":
                    raise what
                answers: list[Any] = what
                return answers

    def close(self) -> None:
        """Let all actors go, as far as Ray answers; ``tend`` starts others."""
        self._wanted = 0
        within(GRACE, self._let_go)

    def stop(self) -> None:
        """End the keeper: nothing more is asked of Ray."""
        self._stopped.set()
        self._keeper.join(GRACE)

    def _let_go(self) -> None:
        with self._lock:
            while self._starting:
                ray.kill(self._starting.popitem()[1])
            for worker in tuple(self._workers):
                self._dismiss(worker)
            self._idle = SimpleQueue()

    def _look(self) -> None:
        """See which nodes there are, and whether the cluster is still there."""
        self._looked = time.monotonic()
        if reason := unreachable(self._head):
            if self._looked - self._heard > SILENCE:
                raise AlignimationError(
                    f"executor: the head of the Ray cluster at {self._head} is gone: {reason}; "
                    "start a cluster and run again: what is done is kept"
                )
            return  # Ray would wait for it
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        self._heard = time.monotonic()
        if self._here not in alive:
            raise AlignimationError(
                "executor: the Ray node on this machine has died; start it and run again: what is "
                "done is kept"
            )
        gpus = self._options.gpus
        free = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive.values()]
        slots = sum(int(min(cores, cards / gpus) if gpus else cores) for cores, cards in free)
        what = f"1 CPU and {gpus:g} GPU" if gpus else "a CPU"
        if slots:
            self._missed = None
        elif self._missed is None and self._patience:
            self._missed = self._looked
            LOG.warning(
                "executor: the Ray cluster has no node with %s for a worker; waiting %g s for one",
                what,
                self._patience,
            )
        elif self._looked - (self._missed or 0) >= self._patience:
            raise AlignimationError(
                f"executor: the Ray cluster has no node (left) with {what} for a worker; add nodes "
                "and run again: what is done is kept"
            )
        self._slots = slots

    def _take(self, stopped: Event) -> Worker:
        while not stopped.is_set():
            try:
                return self._idle.get(timeout=1)
            except Empty:
                pass
        raise CancelledError

    def _ask(self, worker: Worker, order: Order, items: bytes, stopped: Event) -> ray_worker.Reply:
        """Call a worker; it is free again as soon as it has replied."""
        reply = worker.actor.do.remote(None if worker.order == order else order, items)
        while not ray.wait([reply], timeout=1)[0]:
            if stopped.is_set():
                raise CancelledError
        packed = ray.get(reply)
        worker.order = order
        self._idle.put(worker)
        unpacked: ray_worker.Reply = pickle.loads(packed)  # noqa: S301 - of our worker
        return unpacked

    def _is_lost_with_node(self, worker: Worker, error: exceptions.RayError) -> bool:
        if isinstance(error, exceptions.ObjectLostError) or getattr(error, "preempted", False):
            return True
        if unreachable(self._head):  # Ray would wait for it
            return True
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        return worker.home.node not in alive

    def _dismiss(self, worker: Worker) -> None:
        self._workers.discard(worker)
        ray.kill(worker.actor)

    def _fail(self, reason: str) -> None:
        """Count a failure.

        Raises:
            AlignimationError: it is one too many in a row.
        """
        self._in_vain += 1
        if self._in_vain >= HOPELESS:
            raise AlignimationError(f"executor: no Ray worker survives: {reason}")


def _broken(where: str, error: exceptions.RayTaskError) -> AlignimationError:
    """Return what to say of a worker that cannot even take its work."""
    return AlignimationError(
        f"executor: Ray {where} does not work: {in_one_line(error.cause)}; install the same "
        "versions of Python, Ray and all packages there"
    )


def _reason(home: Home, error: exceptions.RayError) -> str:
    """Return why a worker died, for a person."""
    if isinstance(error, exceptions.OutOfMemoryError):
        return f"node {home.address} ran out of memory"
    there = NodeAffinitySchedulingStrategy(home.node, soft=False)
    look = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(ray_worker.last_words)
    words = None
    with suppress(exceptions.RayError):  # GetTimeoutError is one of them
        words = ray.get(look.remote(home.log), timeout=10)
    words = words or "it crashed or was killed, perhaps for want of memory"
    return f"on node {home.address}: {words}" + f" (see {home.log} there)" * bool(home.log)
