"""The site beyond ``docs/``: pages made of the code and of what lies elsewhere in the repository.

Links are written for the code host, relative to the file in which they stand; on the site they lead
to the page that is made of their target.
"""

import fnmatch
import json
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

import pages  # noqa: E402 - beside this file

DOCUMENTS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "licence.md",
}
LANGUAGES = {".yaml": "yaml", ".py": "python", "": "text"}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)

sources: dict[str, str] = {}
"""Files of the repository that pages are made of, by the pages' paths."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of which there is no file in ``docs/``, and tell of them where to find them."""
    docs = Path(config.docs_dir)
    sources.clear()
    sources.update({f.src_uri: f"docs/{f.src_uri}" for f in files if not f.inclusion.is_excluded()})
    sources.update({page: source for source, page in DOCUMENTS.items()})
    for readme in sorted(ROOT.glob("examples/**/README.md")):
        folder = readme.parent.relative_to(ROOT).as_posix()
        sources[f"{folder}/index.md"] = f"{folder}/README.md"
    for source in list(sources.values()):
        for target in _linked(source) if source.endswith(".md") else ():
            if (ROOT / target).is_file() and target not in sources.values():
                sources[f"{target}.md"] = target
    for page, source in sources.items():
        if not source.startswith("docs/"):
            file = File.generated(config, page, content=_content(source))
            if not source.endswith(".md"):  # it need not be in the navigation
                file.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(file)
    made = {**pages.stages(), **pages.api(), **pages.benchmarks(docs)}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    known = [*sources, *made]
    config.nav = [each for entry in config.nav or () for each in _expanded(entry, known)]
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Have a page's links lead to other pages."""
    here = page.file.src_uri
    if here not in sources:
        return markdown
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(lambda link: _led(here, link), part) for part in parts[::2]]
    return "".join(parts)


def _expanded(entry: object, known: list[str]) -> list[object]:
    """Return an entry of the navigation; of a pattern, the pages that it matches."""
    if isinstance(entry, str):
        return [entry] if entry in known else list(fnmatch.filter(known, entry)) or [entry]
    if not isinstance(entry, dict):
        return [entry]
    ((title, of),) = entry.items()
    if isinstance(of, str):
        return [{title: of if of in known else _expanded(of, known)}]
    return [{title: [each for part in of for each in _expanded(part, known)]}]


def _content(source: str) -> str:
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".md"):
        return text
    if source.endswith(".ipynb"):
        return "\n\n".join(_cells(text)) + "\n"
    path = PurePosixPath(source)
    picture = f"docs/{path.parent.name}/{path.stem}.webp"
    shown = ""
    if (ROOT / picture).exists():
        up = posixpath.relpath(picture, path.parent)
        shown = f"![What {path.name} makes]({up})\n\n"
    return f"# {path.name}\n\n{shown}```{LANGUAGES.get(path.suffix, 'text')}\n{text}```\n"


def _cells(notebook: str) -> Iterator[str]:
    """Yield the cells of a notebook, with what they print and draw."""
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for output in cell.get("outputs", ()):
            if "text" in output:
                yield f"```text\n{''.join(output['text'])}```"
            for kind in ("image/jpeg", "image/png"):
                if kind in output.get("data", ()):
                    yield f"![What this cell draws](data:{kind};base64,{output['data'][kind]})"


def _linked(source: str) -> Iterator[str]:
    """Yield the files of the repository to which a document links."""
    text = CODE.sub("", (ROOT / source).read_text(encoding="utf-8"))
    for _, target, _ in LINK.findall(text):
        if "://" not in target and not target.startswith("#"):
            yield _beside(source, target.partition("#")[0])


def _beside(source: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _led(here: str, link: re.Match[str]) -> str:
    before, target, after = link.groups()
    path, hash_, anchor = target.partition("#")
    if "://" in target or not path:
        return link.group()
    wanted = _beside(sources[here], path)
    found = {source: page for page, source in sources.items()}
    page = found.get(wanted) or found.get(f"{wanted}/README.md")
    if page is None:
        return link.group()  # `--strict` tells of it
    return before + posixpath.relpath(page, posixpath.dirname(here)) + hash_ + anchor + after
