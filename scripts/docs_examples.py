"""For the reference pages: `Example:` in a docstring is a section of examples, as `Examples:` is.

Google's style has both words; the reader of docstrings knows the plural alone, and would show the
code of the other as running text.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension


class Examples(Extension):
    """Reads the singular as the plural, and leaves the marks of doctest out."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for every module, class, function and attribute as it is read."""
        if obj.docstring is not None:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M)
            obj.docstring.value = re.sub(r" *# doctest:.*$", "", text, flags=re.M)
