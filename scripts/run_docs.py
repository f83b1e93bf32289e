"""Run what the pages of docs/ tell the reader to type, each page in a folder of its own.

    python scripts/run_docs.py docs/start.md docs/howto/*.md

Blocks fenced as `sh` and `python` are run in their order, as a reader would, who got clip.mp4 and
truth.csv by `mixformerv2 demo --clip .`. Other blocks are shown alone: they need a camera, a GPU,
hours, or a network. Pages that only print are worth nothing, so the first failure ends it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run(page: Path, seconds: float) -> int:
    """The number of blocks run; SystemExit at the first that fails."""
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "configs").symlink_to(ROOT / "configs")
        clip = ["mixformerv2", "demo", "--clip", "."]
        subprocess.run(clip, cwd=folder, env=environment, check=True)
        for language, code in blocks:
            shell = ["bash", "-euo", "pipefail", "-c"]
            command = [*shell, code] if language == "sh" else [sys.executable, "-c", code]
            print(f"--- {page.name}\n{code}", flush=True)
            try:
                done = subprocess.run(command, cwd=folder, env=environment, timeout=seconds)
            except subprocess.TimeoutExpired:
                sys.exit(f"{page}: more than {seconds:.0f} s in\n{code}")
            if done.returncode != 0:
                sys.exit(f"{page}: ended with {done.returncode}\n{code}")
    return len(blocks)


def main() -> None:
    """Run the pages given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=900.0, help="for each block")
    arguments = parser.parse_args()
    count = sum(run(page, arguments.seconds) for page in arguments.pages)
    print(f"{count} blocks of {len(arguments.pages)} pages ran")


if __name__ == "__main__":
    main()
