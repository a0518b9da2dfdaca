"""Photos of an Immich server, for alignimation: a person's, an album's, favourites."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib import error, request
from urllib.parse import quote, urlencode

from pydantic import BeforeValidator, Field

from alignimation_core import AlignimationError, Listing, PhotoSource, SourcePhoto, hookimpl

KEY = "IMMICH_API_KEY"
"""The environment variable that holds the key: a recipe holds no secrets."""

PAGE = 1000
"""Photos or people that are asked for at once; the most that Immich gives."""

PATIENCE = 60
"""Seconds without an answer after which the server is given up."""


class ImmichError(AlignimationError):
    """The server does not give what it is asked for; the text says why and what to do."""


class _NoRedirect(request.HTTPRedirectHandler):
    """Follows no redirect, which would take the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Immich(PhotoSource):
    """Photos of an Immich server; the key is in the environment variable IMMICH_API_KEY."""

    name: ClassVar[str] = "immich"

    url: Annotated[
        str,
        Field(description="the server, such as https://photos.example.org", pattern="^https?://"),
    ]
    person: Annotated[Names, Field(description="only photos of one of these people, by name")] = ()
    album: Annotated[Names, Field(description="only photos in one of these albums, by name")] = ()
    favorites: Annotated[bool, Field(description="only favourites")] = False

    def find(self) -> Listing:
        """List the photos on the server that are wanted."""
        try:
            assets = self._wanted()
        except ImmichError as error:
            return Listing([], why=str(error))
        photos = [self._photo(asset) for asset in assets if asset["type"] == "IMAGE"]
        films = [self._place(asset) for asset in assets if asset["type"] != "IMAGE"]
        return Listing(photos, films, f"{self.url} has no such photos")

    def open(self, key: str) -> bytes:
        """Fetch a photo as it was uploaded.

        Raises:
            ImmichError: the server does not give it.
        """
        return self._ask(f"assets/{quote(key, safe='')}/original")

    def _wanted(self) -> list[dict[str, Any]]:
        """Return the assets that meet all conditions, each once."""
        favorite = {"isFavorite": True} if self.favorites else {}
        if self.person:
            ids = self._ids(self._people(), self.person, "person")
            found = [asset for each in ids for asset in self._search(personIds=[each], **favorite)]
        elif self.favorites or not self.album:
            found = list(self._search(**favorite))
        else:
            found = self._in_albums()
        if self.album and (self.person or self.favorites):
            there = {asset["id"] for asset in self._in_albums()}
            found = [asset for asset in found if asset["id"] in there]
        return list({asset["id"]: asset for asset in found}.values())

    def _photo(self, asset: dict[str, Any]) -> SourcePhoto:
        try:  # the time on the wall where it was taken, whatever the Z behind it says
            taken = datetime.fromisoformat(asset["localDateTime"]).replace(tzinfo=None)
        except (KeyError, TypeError, ValueError):
            taken = None
        people = (person.get("name") for person in asset.get("people") or ())
        return SourcePhoto(
            self,
            key=asset["id"],
            place=self._place(asset),
            taken=taken,
            taken_from="immich" if taken else "",
            albums=self.album if len(self.album) == 1 else (),
            persons=tuple(filter(None, people)),
            version=asset.get("checksum") or "",
        )

    def _place(self, asset: dict[str, Any]) -> str:
        return f"{self.url.rstrip('/')}/photos/{asset['id']}/{Path(asset['originalFileName']).name}"

    def _people(self) -> Iterator[tuple[str, str]]:
        page = 1
        while page:
            answer = self._json(f"people?{urlencode({'page': page, 'size': PAGE})}")
            yield from ((person["name"], person["id"]) for person in answer["people"])
            page = page + 1 if answer.get("hasNextPage") else 0

    def _in_albums(self) -> list[dict[str, Any]]:
        shown = (album for own in ("", "?shared=true") for album in self._json(f"albums{own}"))
        albums = {album["id"]: album["albumName"] for album in shown}
        ids = self._ids(((title, each) for each, title in albums.items()), self.album, "album")
        return [asset for each in ids for asset in self._json(f"albums/{each}")["assets"]]

    def _ids(self, known: Iterator[tuple[str, str]], wanted: Sequence[str], what: str) -> list[str]:
        """Return the ids of what is named; several may bear the same name."""
        every = list(known)
        for name in wanted:
            if name not in (each for each, _ in every):
                names = ", ".join(sorted({each for each, _ in every if each})[:20]) or "none"
                raise ImmichError(f"{self.url} knows no {what} {name!r}; it knows: {names}")
        return [each for name, each in every if name in wanted]

    def _search(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        page: int | None = 1
        while page:
            body = {**wanted, "page": page, "size": PAGE, "withPeople": True}
            assets = self._json("search/metadata", body)["assets"]
            yield from assets["items"]
            page = int(assets["nextPage"]) if assets.get("nextPage") else None

    def _json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return json.loads(self._ask(path, body))
        except ValueError:
            raise ImmichError(f"{self.url} does not answer as Immich does") from None

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        key = os.environ.get(KEY)
        if not key:
            raise ImmichError(f"set {KEY} to an API key of {self.url} (account settings, API keys)")
        headers = {"x-api-key": key, "Accept": "*/*", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        asked = request.Request(f"{self.url.rstrip('/')}/api/{path}", data, headers)
        try:
            with request.build_opener(_NoRedirect).open(asked, timeout=PATIENCE) as answer:
                content: bytes = answer.read()
                return content
        except error.HTTPError as failure:
            with failure:
                reason = {
                    401: f"the key in {KEY} is not valid there",
                    403: f"the key in {KEY} does not allow it; give it more permissions",
                    404: "it does not exist",
                }.get(failure.code, f"the server says {failure.code} {failure.reason}")
            raise ImmichError(f"{self.url}: {reason}") from None
        except OSError as failure:
            reason = str(getattr(failure, "reason", failure))
            raise ImmichError(f"{self.url} cannot be reached ({reason})") from failure


@hookimpl
def alignimation_photo_sources() -> list[type[Immich]]:
    """Offer the source."""
    return [Immich]
