"""What runs on the nodes of a Ray cluster.

The module's code travels to the nodes, so that a node that lacks this package, or has another
version of it, can say so. It therefore imports nothing but the standard library at its top.
"""

from __future__ import annotations

import gc
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

Reply = tuple[Literal["answers", "raised", "unfit"], Any]
"""How it went: the answers, the exception that the work raised, or why this node cannot do it."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a worker lives: Ray's id of its node, hex, and that node's IP address."""

    node: str
    address: str
    log: str | None  # the file there in which the process says why it crashes, if known


@dataclass(frozen=True, slots=True)
class Order:
    """A work, pickled, and what a node must have to do it."""

    versions: dict[str, str]  # by distribution
    code: str  # digest of this package's code
    stages: bytes  # of the work, pickled, each as (kind, stage, fingerprint)
    work: bytes


class Worker:
    """A process that keeps one work, with the networks that it has loaded, and does it."""

    def __init__(self) -> None:
        self._work: Callable[[list[Any]], list[Any]] | None = None

    def home(self) -> Home:
        """Say where it is."""
        import ray

        try:
            log = str(Path("/proc/self/fd/2").readlink())
        except OSError:  # there is no /proc beside Linux
            log = None
        address = ray.util.get_node_ip_address()
        return Home(ray.get_runtime_context().get_node_id(), address, log)

    def do(self, order: Order | None, items: bytes) -> bytes:
        """Do the work, a new one if it is given, on a pickled batch; return a pickled ``Reply``."""
        try:
            if order is not None:
                self._work = None  # its networks leave before others are loaded
                unfit = self._take(order)
                if unfit:
                    return pickle.dumps(("unfit", unfit))
            assert self._work is not None
            return pickle.dumps(("answers", self._work(pickle.loads(items))))  # noqa: S301 - of our driver
        except Exception as error:  # whatever the work raises is the driver's to handle
            return _raised(error)

    def _take(self, order: Order) -> str | None:
        """Keep a new work; return what is wrong with this node for it, if anything is."""
        for distribution, version in order.versions.items():
            unfit = _unlike(distribution, version)
            if unfit:
                return unfit
        gc.set_threshold(500_000, 20, 100)  # as in the command, before torch is imported
        import torch

        torch.set_num_threads(1)  # as in each thread of the local executor
        try:
            unfit = _unfit_for(order)
            if unfit is None:
                self._work = pickle.loads(order.work)  # noqa: S301
        except (ImportError, AttributeError) as error:
            return f"cannot load what the recipe uses: {error}; install the same packages there"
        except ValueError as error:  # options that are right on one machine and not on another
            reason = " ".join(str(error).split())
            return f"cannot load what the recipe uses: {reason}; put the same files there"
        return unfit


def _unfit_for(order: Order) -> str | None:
    """Return what is wrong with this node's code, files or devices for a work, if anything is."""
    from alignimation_core.plugin.fingerprint import code_digest

    if code_digest("alignimation_core") != order.code:
        return _other_code("alignimation")
    for kind, stage, fingerprint in pickle.loads(order.stages):  # noqa: S301
        unfit = _differing(kind, stage, fingerprint) or _without_device(kind, stage)
        if unfit:
            return unfit
    return None


def _unlike(distribution: str, version: str) -> str | None:
    """Return what is wrong with an installed distribution; None if it is of this version."""
    try:
        there = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        there = None
    if there == version:
        return None
    has = f"has {distribution} {there}" if there else f"lacks {distribution}"
    return f"{has}, this machine has {version}: install {distribution}=={version} there"


def _differing(kind: str, stage: Any, fingerprint: str | None) -> str | None:
    """Return what makes a stage's answers differ from those at the driver; None if nothing."""
    from alignimation_core.plugin.fingerprint import fingerprint as fingerprint_here

    here = fingerprint_here(kind, stage)
    if fingerprint is None or here == fingerprint:
        return None
    name = f"{kind} {stage.name}"
    if here is None:
        return f"does not offer {name}; `alignimation-run --list` there says why"
    facts, there = json.loads(fingerprint), json.loads(here)
    if facts["code"] != there["code"]:
        return _other_code(facts["plugin"])
    return f"has other files than this machine for {name}; put the same at the same path there"


def _other_code(package: str) -> str:
    version = metadata.version(package)
    what = f"has other code of {package} {version} than this machine"
    return f"{what}: install the same {package} there"


def _without_device(kind: str, stage: Any) -> str | None:
    """Return which device a stage asks for that a worker does not see; None if it has its own."""
    from alignimation_core.api.stages import ComputeStage

    if isinstance(stage, ComputeStage):
        try:
            stage.torch_device()
        except ValueError:
            return (
                f"offers its workers no device {stage.device!r}, which {kind} {stage.name} asks "
                "for; set `executor.gpus`, or `device: auto`"
            )
    return None


def _raised(error: BaseException) -> bytes:
    """Pickle an exception, with a note of where it came from that ``--traceback`` shows."""
    trace = "".join(traceback.format_exception(error))
    try:
        error.add_note(f"On the Ray worker:\n{trace}")
        reply = pickle.dumps(("raised", error))
        pickle.loads(reply)  # noqa: S301
    except Exception:  # not every exception can travel
        text = "".join(traceback.format_exception_only(error)).strip()
        reply = pickle.dumps(("raised", RuntimeError(f"{text}\n{trace}")))
    return reply


def last_words(log: str | None) -> str | None:
    """Return what a process wrote as it crashed, such as ``Segmentation fault``."""
    if log is None:
        return None
    try:
        text = Path(log).read_bytes()[-100_000:].decode(errors="replace")
    except OSError:
        return None
    _, found, end = text.rpartition("Fatal Python error: ")
    return end.partition("\n")[0].strip() if found else None
