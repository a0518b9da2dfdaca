"""The server of the page: its addresses, and who may ask for them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alignimation_core.api.errors import AlignimationError, PhotoError, printable_lines
from alignimation_core.review.record import place_of
from alignimation_core.review.session import Session

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LARGEST = 1_000_000
"""Bytes of what the page may send at once."""


def application(session: Session, token: str, hosts: frozenset[str]) -> ASGIApp:
    """Return the application of a review.

    Args:
        session: the review.
        token: what every address begins with.
        hosts: the names, with the port, under which the page is asked for.
    """
    read = partial(Route, methods=["GET"])
    routes = [
        Route("/", _index),
        read("/state", _Told(lambda _, __: session.state())),
        read("/corrections", _Told(partial(_shown_corrections, session))),
        Route("/decide", _Told(partial(_decide, session)), methods=["POST"]),
        Route("/set", _Told(partial(_set, session)), methods=["POST"]),
        Route("/undo", _Told(lambda _, __: _undo(session)), methods=["POST"]),
        read("/people", _Told(partial(_people, session))),
        read("/job", _Told(lambda _, __: session.job())),
        Route("/start", _Told(partial(_start, session)), methods=["POST"]),
        Route("/stop", _Told(lambda _, __: session.stop()), methods=["POST"]),
        Route("/reload", _Told(lambda _, __: session.reload()), methods=["POST"]),
        read("/films/{which}", _Told(partial(_films, session))),
        read("/small/{place:int}", _Picture(session, lambda p, place, _: p.small(place))),
        read(
            "/photo/{place:int}", _Picture(session, lambda p, place, _: p.whole(place, full=False))
        ),
        read("/full/{place:int}", _Picture(session, lambda p, place, _: p.whole(place, full=True))),
        read("/face/{place:int}/{number:int}", _Picture(session, lambda p, *at: p.face(*at))),
        read("/faces/{place:int}", _Told(partial(_faces, session))),
        Route("/output/{which}/{name:path}", partial(_output, session)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return _Guard(Starlette(routes=routes), token, hosts)


class _Guard:
    """Refuses whoever does not know the token, or is sent by another page."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        told = partial(self._tell, send)
        home = f"/{self._token}"
        first = scope["path"][: len(home) + 1]
        if not self._allowed(Headers(scope=scope)) or not secrets.compare_digest(
            first.encode("utf-8", "replace"), f"{home}/".encode()
        ):
            refused = PlainTextResponse("forbidden: open the address that was printed", 403)
            await refused(scope, receive, told)
            return
        inner = {**scope, "root_path": scope.get("root_path", "") + home}
        await self._app(inner, receive, told)

    def _allowed(self, headers: Headers) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        return (
            host in self._hosts
            and origin in (None, f"http://{host}")
            and headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        )

    @staticmethod
    async def _tell(send: Send, message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in given
                ),
            ]
        await send(message)


class _ASCII(JSONResponse):
    """JSON in ASCII: names of photos need not be UTF-8."""

    def render(self, content: object) -> bytes:
        """Return the bytes."""
        return json.dumps(content, allow_nan=False).encode()


class _Told:
    """An address that answers with JSON; what the user did wrong has a text and status 409."""

    def __init__(self, answer: Callable[[Request, Any], object]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            given = await _sent(request) if request.method == "POST" else None
            answer = await run_in_threadpool(self._answer, request, given)
            response: Response = _ASCII(answer)
        except (AlignimationError, ValueError) as error:
            text = printable_lines(str(error))
            response = JSONResponse({"error": text}, 409)
        await response(scope, receive, send)


async def _sent(request: Request) -> Any:
    """Return the JSON that the page has sent.

    Raises:
        ValueError: it is none, or too much.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise ValueError("that is more than a page sends at once")
    try:
        return json.loads(body or b"null")
    except RecursionError:
        raise ValueError("that is nested deeper than what a page sends") from None


class _Picture:
    """An address that answers with a JPEG of a photo."""

    def __init__(self, session: Session, make: Callable[..., bytes]) -> None:
        self._session, self._make = session, make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Request(scope, receive).path_params
        place = _place(self._session, given["place"])
        try:
            _same_run(self._session, Request(scope, receive))
            data = await run_in_threadpool(
                self._make, self._session.pictures, place, given.get("number")
            )
            response = Response(data, media_type="image/jpeg")
        except PhotoError as error:
            response = PlainTextResponse(error.reason, 404)
        except ValueError as error:
            response = PlainTextResponse(str(error), 409)
        await response(scope, receive, send)


def _place(session: Session, place: int) -> int:
    if place >= len(session.photos):
        raise HTTPException(404)
    return place


async def _index(_: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def _corrections(session: Session) -> dict[str, Any]:
    """Return what is corrected, or why that cannot be read; the page opens in any case."""
    decisions = session.decisions
    try:
        return {"photos": decisions.corrected(), "undo": decisions.undoable, "error": None}
    except AlignimationError as error:
        text = printable_lines(str(error))
        return {"photos": {}, "undo": decisions.undoable, "error": text}


def _same_run(session: Session, request: Request) -> None:
    """Refuse a page that shows another run, in which other photos have the numbers."""
    if request.query_params.get("run", str(session.run)) != str(session.run):
        raise ValueError("there was another run meanwhile; load the page again, then decide")


def _shown_corrections(session: Session, request: Request, _: object) -> dict[str, Any]:
    _same_run(session, request)
    return _corrections(session)


def _people(session: Session, request: Request, _: object) -> list[dict[str, Any]]:
    _same_run(session, request)
    return session.people()


def _decide(session: Session, request: Request, given: Any) -> dict[str, Any]:
    if not isinstance(given, list) or not all(
        isinstance(each, dict)
        and type(each.get("photo")) is int
        and isinstance(each.get("changes"), dict)
        for each in given
    ):
        raise ValueError("expected [{photo: 0, changes: {use: false}}]")
    _same_run(session, request)
    session.decide([(each["photo"], each["changes"]) for each in given])
    return {"undo": session.decisions.undoable}


def _set(session: Session, request: Request, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("location"), list):
        raise ValueError("expected {location: [reference], value: 0}")
    _same_run(session, request)
    session.set([str(key) for key in given["location"]], given.get("value"))
    return {"undo": session.decisions.undoable}


def _undo(session: Session) -> dict[str, Any]:
    session.undo()
    return _corrections(session) | session.chosen()


def _start(session: Session, _: Request, given: Any) -> None:
    if given not in ("render", "preview"):
        raise ValueError("expected render or preview")
    session.start(given)


def _films(session: Session, request: Request, _: object) -> list[str]:
    return session.films(trial=request.path_params["which"] == "preview")


def _faces(session: Session, request: Request, _: object) -> list[dict[str, Any]]:
    _same_run(session, request)
    return session.pictures.faces(_place(session, request.path_params["place"]))


async def _output(session: Session, request: Request) -> Response:
    """Answer with a film of the last run or preview, by its name in the record alone."""
    trial = request.path_params["which"] == "preview"
    name = request.path_params["name"]
    if name not in await run_in_threadpool(partial(session.films, trial=trial)):
        raise HTTPException(404)
    path = place_of(session.recipe, trial=trial) / name
    if isinstance(path, Path):
        if not path.is_file():
            raise HTTPException(404)
        return FileResponse(path)
    return Response(await run_in_threadpool(path.read_bytes))
