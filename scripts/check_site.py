"""Whether the built site stands alone: links lead somewhere, and nothing is fetched from afar.

    python scripts/check_site.py out/site

Links to other sites are fine, for they are followed by people; scripts, styles, pictures and fonts
of other hosts are not. Needs nothing but Python's own library.
"""

from __future__ import annotations

import argparse
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("video", "src"),
    ("iframe", "src"),
    ("link", "href"),
}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}
"""Kinds of <link> that a browser reads and does not load."""
_STYLE = re.compile(
    r"""url\(\s*['"]?((?:https?:)?//[^'")]+)|@import\s+['"]?((?:https?:)?//[^'"]+)"""
)


class Page(HTMLParser):
    """Anchors, links and loads of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort one tag's addresses."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        for name in ("href", "src"):
            if name not in found:
                continue
            loaded = (tag, name) in FETCHED and found.get("rel") not in NOT_LOADED
            (self.loads if loaded else self.links).append(found[name])


def problems(site: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    out = []
    for path, page in sorted(pages.items()):
        where = path.relative_to(site)
        if path.name == "404.html":  # its addresses are those of the site's root on a server
            continue
        out += [f"{where}: loads {load}" for load in page.loads if urlsplit(load).netloc]
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                out.append(f"{where}: no file behind {link}")
            elif (
                parts.fragment not in ("", "__top")
                and target in pages
                and unquote(parts.fragment) not in pages[target].anchors
            ):
                out.append(f"{where}: no anchor behind {link}")
    for path in site.rglob("*.css"):
        for match in _STYLE.finditer(path.read_text(encoding="utf-8")):
            out.append(f"{path.relative_to(site)}: loads {match[1] or match[2]}")
    if not pages:
        out.append(f"{site} holds no page")
    return out


def main() -> None:
    """Print what is wrong; end with 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path)
    found = problems(parser.parse_args().site.resolve())
    print("\n".join(found) or "every link leads somewhere, and nothing is fetched from afar")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
