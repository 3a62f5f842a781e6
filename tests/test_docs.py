"""What the documents point at exists, and nothing of the project leans on the folder of recordings beside it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
NOT_OURS: Final = re.compile(
    r"(\.(?!ci|github|gitignore).*|build|dist|node_modules|__pycache__|ssmd-data|.*\.egg-info)$"
)
"""Folders that tools make. `.ci` is ours."""

BESIDE: Final = "../" + "shared"
LINK: Final = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"`([^`\s]+)`")
FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PLAIN_PATH: Final = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
"""No placeholders, no wildcards, no host names."""


def files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if NOT_OURS.match(path.name):
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def broken_links(document: Path, root: Path) -> list[str]:
    """Return the relative links and the paths in backticks of a document that lead nowhere."""
    text = FENCED.sub("", document.read_text())
    links = [
        link.partition("#")[0] for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")
    ]
    missing = [link for link in links if not (document.parent / link).exists()]
    paths = [path for path in CODE.findall(text) if _is_path(path, root)]
    return missing + [path for path in paths if not (root / path).exists()]


def _is_path(text: str, root: Path) -> bool:
    """Tell whether the text names a place in the project: its first part is a folder of ours."""
    first = text.split("/", maxsplit=1)[0]
    is_ours = NOT_OURS.match(first) is None and (root / first).is_dir()
    return "/" in text and PLAIN_PATH.fullmatch(text) is not None and is_ours


def mentions_of_recordings(root: Path) -> list[str]:
    product = [path for path in files(root) if path.relative_to(root).parts[0] != "tests"]
    return [str(path.relative_to(root)) for path in product if BESIDE.encode() in path.read_bytes()]


def test_links_and_paths_in_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = {str(document.relative_to(ROOT)): broken_links(document, ROOT) for document in documents}
    assert {name: links for name, links in broken.items() if links} == {}


def test_only_tests_know_the_recordings_beside_the_project() -> None:
    assert mentions_of_recordings(ROOT) == []


def test_a_broken_link_and_a_wrong_path_are_found(tmp_path: Path) -> None:
    (tmp_path / "ssmd").mkdir()
    (tmp_path / "ssmd-data").mkdir()
    (tmp_path / "ssmd" / "model.py").touch()
    readme = tmp_path / "README.md"
    readme.write_text(
        "[good](ssmd/model.py#top) [web](https://example.org/x) [here](#anchor) [bad](docs/no.md)\n"
        "`ssmd-data/run/gone.json` `ssmd/model.py` `ssmd/gone.py` `ssmd/<feed>.py` `md.x/y` `text/plain` `ssmd`\n"
        "```\n[not](prose.md)\n```\n"
    )
    assert broken_links(readme, tmp_path) == ["docs/no.md", "ssmd/gone.py"]


def test_a_mention_of_the_recordings_outside_tests_is_found(tmp_path: Path) -> None:
    for folder in ("ssmd", "tests", ".venv", ".ci"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(f"cat {BESIDE}/data")
    assert mentions_of_recordings(tmp_path) == [".ci/file", "ssmd/file"]
