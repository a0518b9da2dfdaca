"""``alignimation review``: see what a run has made of the photos in a page, and decide there."""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from alignimation_core.cli.arguments import add_recipe, add_trace, load_recipe
from alignimation_core.cli.process import end_with, guarded, interrupts_held

if TYPE_CHECKING:
    from alignimation_core.recipe.recipe import Recipe

HOST = "127.0.0.1"
CHILD = "from alignimation_core.cli.review import render; render()"
EVERY = 1_000_000_000
"""Photos of a preview: a trial run of all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation review``."""
    add_recipe(parser)
    parser.add_argument(
        "--port", type=_port, default=0, metavar="N", help="of the page; any free one if absent"
    )
    parser.add_argument(
        "--no-browser", action="store_false", dest="browser", help="only print the page's address"
    )
    add_trace(parser)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 1 to 65535")
    return int(text)


def work(given: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from alignimation_core.api.errors import OutputError
    from alignimation_core.review.record import read

    recipe = load_recipe(given)
    read(recipe)  # whether there is anything to see shows before torch is imported
    try:
        with interrupts_held():
            import uvicorn

            from alignimation_core.review.app import application
            from alignimation_core.review.session import Session
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        what = "the review page needs one more package: pip install 'alignimation[review]'"
        raise OutputError(what) from None

    asked = {"recipe": given.recipe, "settings": given.settings, "device": given.device}
    command = [sys.executable, "-c", CHILD, json.dumps(asked)]
    session = Session(Path(given.recipe), lambda: load_recipe(given), command)
    token = secrets.token_urlsafe(24)
    with _listening(given.port) as listener:
        host = f"{HOST}:{listener.getsockname()[1]}"
        address = f"http://{host}/{token}/"
        with _alone(recipe, address):
            config = uvicorn.Config(
                application(session, token, frozenset({host, host.replace(HOST, "localhost")})),
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
            print(address, flush=True)
            print("alignimation review: Ctrl-C ends it", file=sys.stderr)
            if given.browser:
                import webbrowser

                webbrowser.open(address)
            interrupted = False
            try:
                uvicorn.Server(config).run(sockets=[listener])
            except KeyboardInterrupt:  # which is how a review ends
                pass
            finally:
                interrupted = session.close()
    if interrupted:
        raise KeyboardInterrupt
    return 0


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """Listen on a port of this machine alone.

    Raises:
        OutputError: something else listens there.
    """
    from alignimation_core.api.errors import OutputError

    with socket.socket() as listener:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError as error:
            what = f"port {port} cannot be used ({error.strerror}); give another, or leave it out"
            raise OutputError(what) from error
        yield listener


@contextmanager
def _alone(recipe: Recipe, address: str) -> Iterator[None]:
    """Be the one review of an output folder.

    Raises:
        OutputError: there is another.
    """
    from filelock import FileLock, Timeout

    from alignimation_core.api.errors import OutputError
    from alignimation_core.output.remote import output_folder
    from alignimation_core.store.database import HIDDEN

    home = output_folder(recipe).store_folder / HIDDEN
    lock, where = FileLock(home / "review.lock"), home / "review.address"
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        where.unlink(missing_ok=True)
        where.touch(mode=0o600)  # whoever can read it can decide
        where.write_text(address, encoding="utf-8")
    except Timeout:
        known = ""
        with suppress(OSError):
            known = f" at {where.read_text(encoding='utf-8')}"
        what = f"{recipe.source.name} is being reviewed already{known}; go there, or end that"
        raise OutputError(what) from None
    except OSError as error:
        raise OutputError(f"{home}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        where.unlink(missing_ok=True)
        lock.release()


def render() -> NoReturn:
    """Run a recipe for the page that has started this process, and follows its stderr."""
    end_with(lambda: guarded("alignimation review", lambda: _rendered(*sys.argv[1:]), trace=False))


def _rendered(asked: str, width: str = "", height: str = "") -> int:
    recipe = load_recipe(argparse.Namespace(**json.loads(asked)))
    with interrupts_held():
        from alignimation_core.pipeline import run
        from alignimation_core.review import rendering
        from alignimation_core.summary import summary

    progress = rendering.Events(sys.stderr)
    if not width:
        record = run(recipe, wait=False, progress=progress)
    else:
        canvas = {"width": int(width), "height": int(height)} if int(width) else None
        preview = rendering.small(recipe, canvas)
        record = run(preview, limit=EVERY, wait=False, progress=progress)
    progress.note(summary(record))
    return 0
