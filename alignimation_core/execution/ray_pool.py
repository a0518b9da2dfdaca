"""The workers of a Ray cluster, as the driver sees them: who does what, who died of what."""

from __future__ import annotations

import math
import pickle
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import exceptions

from alignimation_core.api.errors import AlignimationError, in_one_line
from alignimation_core.execution import ray_worker
from alignimation_core.execution.executor import Lost
from alignimation_core.execution.ray_worker import Home, Order
from alignimation_core.recipe.options import ExecutorOptions

EACH = 2
"""Batches given to each worker: the one that it is at, and the next."""
LIVES = 2
"""Workers that an item may kill before it is given up."""
NODE_DIED = "its node has died"
"""What Ray says of a worker that went down with its node."""
TOLD_TO_END = "The process receives a SIGTERM."
"""What Ray says of a worker that was asked to go, as by a node that is about to leave."""
CALLS = 3
"""How often that may happen at an item before it is suspected of asking for it."""
HOPELESS = 5
"""Items given up, or workers dead as they start, with no answer between, that end the run."""

ray.cloudpickle.register_pickle_by_value(ray_worker)


@dataclass(eq=False, slots=True)
class Batch:
    """The answers of a batch as they come in.

    Attributes:
        answers: one an item.
        left: how many are missing.
        error: what the work raised instead.
    """

    answers: list[Any]
    left: int
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.left == 0 or self.error is not None

    def fill(self, places: Sequence[int], answers: Sequence[Any]) -> None:
        """Take answers for some of the items."""
        for place, answer in zip(places, answers, strict=True):
            self.answers[place] = answer
        self.left -= len(places)


@dataclass(eq=False, slots=True)
class Task:
    """Items to be worked on together.

    Attributes:
        batch: where their answers go.
        items: the items.
        places: their places in the batch.
        killed: workers that died while they had them, alone or with another task: a worker that
            dies may take along the reply to what it had done before.
        called: workers that were asked to go while they had them.
    """

    batch: Batch
    items: list[Any]
    places: Sequence[int]
    killed: int = 0
    called: int = 0


@dataclass(eq=False, slots=True)
class Hand:
    """One worker.

    Attributes:
        actor: its handle.
        asked: the pending answer to where it is: it starts, or does not answer any more.
        home: where it is, once known.
        order: the order that it has.
        tasks: what it was given, in order, each with its pending reply.
        unheard: whether it has not replied since it was given another order: it may have died
            before that, when it had nothing to do.
    """

    actor: Any
    asked: Any
    home: Home | None = None
    order: Order | None = None
    tasks: deque[tuple[Any, Task]] = field(default_factory=deque)
    unheard: bool = False

    def holds(self) -> int:
        """Count what it was given; a suspect fills it, so that no other task is suspected."""
        return EACH if self.tasks and self.tasks[0][1].killed else len(self.tasks)


class Pool:
    """Workers that come and go with the nodes.

    Args:
        options: how many there may be, and what each takes.
        patience: seconds to wait for a node, as long as there is none.
    """

    def __init__(self, options: ExecutorOptions, patience: float) -> None:
        self._options, self._patience = options, patience
        self._hands: list[Hand] = []
        self._tasks: deque[Task] = deque()
        self._order: Order | None = None
        self._in_vain = 0
        self._slots, self._looked, self._hoped = 0, -math.inf, time.monotonic()
        self._look()

    @property
    def room(self) -> int:
        """How many workers there can be at once, at least 1."""
        return max(1, self._options.workers or self._slots)

    def begin(self, order: Order) -> None:
        """Turn to a new work."""
        self._order, self._in_vain = order, 0

    def add(self, task: Task) -> None:
        """Take something to do."""
        self._tasks.append(task)

    def stop(self) -> None:
        """Drop what is not done yet, along with the workers that are at it."""
        self._tasks.clear()
        for hand in [hand for hand in self._hands if hand.tasks]:
            self._dismiss(hand)

    def close(self) -> None:
        """Let all workers go."""
        self._tasks.clear()
        for hand in tuple(self._hands):
            self._dismiss(hand)

    def step(self, seconds: float) -> None:
        """Give out tasks, and take replies; wait at most so long for one.

        Raises:
            AlignimationError: no node is left, a node lacks what the work needs, or no worker
                survives.
        """
        if time.monotonic() - self._looked > 1:
            self._look()
        wanted = min(self.room, len(self._tasks) + sum(bool(hand.tasks) for hand in self._hands))
        while len(self._hands) < wanted:
            actor = self._hire()
            self._hands.append(Hand(actor, actor.home.remote()))
        self._give()
        pending = {hand.asked or hand.tasks[0][0]: hand for hand in self._hands if _busy(hand)}
        ready, others = ray.wait(list(pending), num_returns=1, timeout=seconds)
        if ready and others:
            ready += ray.wait(others, num_returns=len(others), timeout=0)[0]
        for reply in ready:
            hand = pending[reply]
            if hand.asked:
                self._greet(hand)
            else:
                self._collect(hand)

    def _look(self) -> None:
        """See what nodes there are."""
        gpus = self._options.gpus
        self._slots = 0
        for node in ray.nodes():
            if node["Alive"]:
                cores, cards = (node["Resources"].get(name, 0.0) for name in ("CPU", "GPU"))
                self._slots += int(min(cores, cards / gpus) if gpus else cores)
        self._looked = time.monotonic()
        if self._slots:
            self._hoped = self._looked
        elif self._looked - self._hoped >= self._patience:
            what = f"1 CPU and {gpus:g} GPU" if gpus else "a CPU"
            raise AlignimationError(
                f"executor: the Ray cluster has no node (left) with {what} for a worker; add nodes "
                "and run again: what is done is kept"
            )

    def _hire(self) -> Any:
        kind = ray.remote(
            num_cpus=1, num_gpus=self._options.gpus, max_restarts=0, max_task_retries=0
        )(ray_worker.Worker)
        return kind.remote()

    def _give(self) -> None:
        """Hand out tasks: none waits behind another while a worker starts that could take it."""
        while self._tasks:
            starting = sum(hand.asked is not None for hand in self._hands)
            room = 1 if self._tasks[0].killed else EACH
            free = [hand for hand in self._hands if not hand.asked and hand.holds() < room]
            hand = min(free, key=Hand.holds, default=None)
            if hand is None or (hand.tasks and len(self._tasks) <= starting):
                return
            task = self._tasks.popleft()
            new = self._order if hand.order is not self._order else None
            hand.unheard |= new is not None and hand.order is not None
            hand.order = self._order
            hand.tasks.append((hand.actor.do.remote(new, pickle.dumps(task.items)), task))

    def _greet(self, hand: Hand) -> None:
        """Learn where a worker is, or what became of it."""
        try:
            home = ray.get(hand.asked)
        except exceptions.ActorUnavailableError:
            hand.asked = hand.actor.home.remote()
        except exceptions.RayTaskError as error:
            raise _broken(hand, error) from error
        except exceptions.RayError as error:
            self._bury(hand, error)
        else:
            if hand.home is not None:  # it was out of reach meanwhile; its replies may be lost
                self._tasks.extendleft(task for _, task in reversed(hand.tasks))
                self._dismiss(hand)
            else:
                hand.home, hand.asked = home, None

    def _collect(self, hand: Hand) -> None:
        """Take a worker's first reply."""
        reply, task = hand.tasks[0]
        try:
            how, what = pickle.loads(ray.get(reply))  # noqa: S301 - of our worker
        except exceptions.ActorUnavailableError:  # Ray does not know yet what became of it
            hand.asked = hand.actor.home.remote()
            return
        except exceptions.ObjectLostError:  # its node died when it had replied
            hand.tasks.popleft()
            self._tasks.appendleft(task)
            return
        except exceptions.RayTaskError as error:
            raise _broken(hand, error) from error
        except exceptions.RayError as error:
            self._bury(hand, error)
            return
        hand.tasks.popleft()
        hand.unheard = False
        if how == "unfit":
            assert hand.home is not None
            raise AlignimationError(f"executor: Ray node {hand.home.address} {what}")
        self._in_vain = 0
        if how == "raised":
            task.batch.error = what
        else:
            task.batch.fill(task.places, what)

    def _dismiss(self, hand: Hand) -> None:
        self._hands.remove(hand)
        ray.kill(hand.actor)

    def _bury(self, hand: Hand, error: exceptions.RayError) -> None:
        """Pass on the tasks of a worker that is lost, and find out whose fault that was."""
        tasks = [task for _, task in hand.tasks]
        self._dismiss(hand)
        innocent = hand.unheard or NODE_DIED in str(error)
        if tasks and not innocent and TOLD_TO_END in str(error):
            for task in tasks:
                task.called += 1
            innocent = all(task.called <= CALLS for task in tasks)
        if not innocent:
            for task in tasks:
                task.killed += 1
            reason = _reason(hand.home, error)
            if hand.home is None:
                self._in_vain += 1
            elif len(tasks) == 1:
                tasks = self._sentence(tasks[0], reason)
            if self._in_vain >= HOPELESS:
                raise AlignimationError(f"executor: no Ray worker survives: {reason}")
        self._tasks.extendleft(reversed(tasks))

    def _sentence(self, task: Task, reason: str) -> list[Task]:
        """Return how to go on with a task that killed its worker: item by item, or not at all."""
        if len(task.items) == 1 and task.killed >= LIVES:
            self._in_vain += 1
            lost = Lost(f"it killed its Ray worker {task.killed} times: {reason}")
            task.batch.fill(task.places, [lost])
            return []
        return [
            Task(task.batch, [item], [place], task.killed, task.called)
            for item, place in zip(task.items, task.places, strict=True)
        ]


def _busy(hand: Hand) -> bool:
    return hand.asked is not None or bool(hand.tasks)


def _broken(hand: Hand, error: exceptions.RayTaskError) -> AlignimationError:
    """Return what to say of a worker that cannot even take its work."""
    node = f"node {hand.home.address}" if hand.home else "worker"
    return AlignimationError(
        f"executor: Ray {node} does not work: {in_one_line(error.cause)}; install the same "
        "versions of Python, Ray and all packages there"
    )


def _reason(home: Home | None, error: exceptions.RayError) -> str:
    """Return why a worker died, for a person."""
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.OutOfMemoryError):
        used = re.search(r"\S+ used / \S+ limit", text)
        return "its node ran out of memory" + (f": {used[0]}" if used else "")
    found = re.search(r"Worker exit detail: (.*)", text)
    detail = found[1] if found else text
    if home is None:
        return detail
    if "connection error code 2" in detail:
        detail = "it crashed or was killed, perhaps for want of memory"
    words = _last_words(home)
    return f"on node {home.address}: {words or detail}" + (f" (see {home.log} there)") * bool(
        home.log
    )


def _last_words(home: Home) -> str | None:
    """Ask a dead worker's node what the log says."""
    if home.log is None:
        return None
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(home.node, soft=False)
    look = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(ray_worker.last_words)
    try:
        words: str | None = ray.get(look.remote(home.log), timeout=10)
    except exceptions.RayError:  # GetTimeoutError is one of them
        return None
    return words
