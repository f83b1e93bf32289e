"""A study on disk: `report.html`, `report.md`, `report.tex`, `report.json`."""

from __future__ import annotations

import json
from pathlib import Path

from ..weights.files import make_folder
from .html import html
from .results import write_text
from .study import Study
from .tables import latex, markdown

__all__ = ["write_report"]


def write_report(study: Study, folder: str | Path, *, pictures: bool = True) -> Path:
    """Write all four and return the page.

    Args:
        study: What was found.
        folder: Made where it is missing.
        pictures: Film strips in the page, which hold frames of the data set.

    Raises:
        OutputError: they cannot be written.
    """
    place = make_folder(Path(folder))
    content = json.dumps(study.as_dict(), indent=2, allow_nan=False)
    write_text(place / "report.json", content + "\n")
    write_text(place / "report.md", markdown(study))
    write_text(place / "report.tex", latex(study))
    page = place / "report.html"
    write_text(page, html(study, pictures=pictures))
    return page
