"""Whether the built site has all that it should, and loads nothing from anywhere else."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import alignimation_core
from alignimation_core.cli.listing import groups, options, plural
from alignimation_core.plugin.registry import registry

SITE = Path(sys.argv[1])
WORDS = "embedder target canvas residual renderer executor crf matte identity similarity".split()
LOADING_RELS = {"stylesheet", "icon", "manifest", "preload", "prefetch", "preconnect"}
LOADING_RELS |= {"dns-prefetch", "modulepreload"}


class Page(HTMLParser):
    """What a page loads, its identifiers, and the pages that it leads to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.leads: list[str] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag loads."""
        of = {name: value or "" for name, value in attrs}
        self.ids.add(of.get("id", ""))
        loading = ["src", "srcset", "data", "poster", "background"]
        if tag == "link" and LOADING_RELS & {*of.get("rel", "").lower().split()}:
            loading.append("href")
        self.loads += [of[name] for name in loading if name in of]
        self.loads += re.findall(r"url\(([^)]*)\)", of.get("style", ""))
        if "mermaid" in of.get("class", "").split():  # which the theme fetches a script for
            self.loads.append("https://unpkg.com/mermaid")
        if tag == "a" and "href" in of:
            self.leads.append(of["href"])


pages = {path.relative_to(SITE).as_posix(): Page(path) for path in sorted(SITE.rglob("*.html"))}
foreign = [
    f"{name}: {load}"
    for name, page in pages.items()
    for load in page.loads
    if re.match(r"\s*['\"]?\s*(\w+:)?//", load)
]
for sheet in SITE.rglob("*.css"):
    text = sheet.read_text(encoding="utf-8")
    loads = re.findall(r"(?:url\(|@import)\s*['\"]?((?:\w+:)?//[^)'\"\s]+)", text)
    foreign += [f"{sheet.relative_to(SITE)}: {load}" for load in loads]
assert not foreign, "loaded from elsewhere: " + ", ".join(foreign)

count = 0
for kind, stages in registry().stages.items():
    page = pages[f"stages/{plural(kind).replace(' ', '-')}.html"]
    for name, found in stages.items():
        if found.distribution != "alignimation":
            continue
        assert name in page.ids, f"no section of the {kind} {name}"
        for option in options(found.stage.model_json_schema(), nested=True):
            assert f"<code>{option.name}</code>" in page.text, f"{kind} {name}: no {option.name}"
            count += 1
assert groups().keys() <= pages["settings.html"].ids
for name in alignimation_core.__all__:
    assert f"<code>{name}</code>" in pages["api/index.html"].text, f"no {name} in the Python API"
missing = {*WORDS} - pages["glossary.html"].ids
assert not missing, f"the glossary has no {missing}"
for recipe in Path("examples/recipes").glob("*.yaml"):
    assert any(
        load.endswith(f"recipes/{recipe.stem}.webp")
        for load in pages[f"examples/recipes/{recipe.name}.html"].loads
    ), f"{recipe.name} has no picture"

index = json.loads((SITE / "search" / "search_index.json").read_text(encoding="utf-8"))
found = {entry["location"].partition("#")[0] for entry in index["docs"]}
unsearched = pages.keys() - found - {"404.html"}
assert not unsearched, f"not in the search: {unsearched}"
assert (SITE / "search" / "search_index.js").exists(), "no search without a server"
print(f"{len(pages)} pages, {count} options of stages, nothing loaded from elsewhere")
