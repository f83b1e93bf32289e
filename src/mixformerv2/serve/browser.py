"""Opening a page in the browser, where there is one that could show it."""

from __future__ import annotations

import os
import sys
import webbrowser

__all__ = ["open_page"]


def open_page(address: str) -> bool:
    """Open an address in the browser; whether that was tried.

    Without a display Python falls back on browsers of the terminal (w3m, lynx, links): they take
    it over, wait until they are ended, and cannot draw a box. There is none of them where the user
    did not ask for it by `BROWSER`.
    """
    graphical = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    return graphical and webbrowser.open(address)
