"""`make screenshots`: photographs each kind's page with a headless Chromium, for docs/destinations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
from tests.pictures.pages import ADAPTIVE_CARDS, IMAGES, PICTURED, RECORD, WIDTH, fingerprint, page
from tests.pictures.png import smaller

_PACKAGES: Final = ("chromium", "fonts-dejavu-core", "fonts-noto-color-emoji")
_CARDS: Final = "adaptivecards@3.0.6"
_HEIGHT: Final = 1600  # pixels: more than the longest page has
_SECONDS: Final = 120.0  # for one picture
_SWITCHES: Final = (
    "--headless",
    "--no-sandbox",  # nothing but our own pages is shown
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{_HEIGHT}",
)


def browser() -> str:
    """The browser's program; installed where that is possible."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        click.echo(f"==> installing {', '.join(_PACKAGES)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-qq", "--no-install-recommends", "-y", *_PACKAGES], check=True)
        found = shutil.which("chromium")
    return found or sys.exit(f"screenshots need Chromium and fonts (Debian: {' '.join(_PACKAGES)})")


def cards(folder: Path) -> None:
    """Put Microsoft's package that lays out adaptive cards into the folder."""
    if shutil.which("npm") is None:
        sys.exit("screenshots need npm: the card of Teams is laid out by Microsoft's package adaptivecards")
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", _CARDS], cwd=folder, check=True)
    shutil.copy(folder / "node_modules/adaptivecards/dist" / ADAPTIVE_CARDS, folder)


def photograph(program: str, kind: str, folder: Path) -> bytes:
    """A picture of the kind's page."""
    source, target = folder / f"{kind}.html", folder / f"{kind}.png"
    source.write_text(page(kind), encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [program, *_SWITCHES, profile, f"--screenshot={target}", source.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode or not target.exists():
        sys.exit(f"{kind}: {program} made no picture\n{done.stderr}")
    return smaller(target.read_bytes())


def main() -> None:
    """Make every picture anew whose page has changed (all of them with --all), and record what they show."""
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    if "--all" in sys.argv[1:]:
        known = {}
    IMAGES.mkdir(exist_ok=True)
    stale = [k for k in PICTURED if known.get(k) != fingerprint(k) or not (IMAGES / f"{k}.png").exists()]
    with tempfile.TemporaryDirectory(prefix="pipebell-pictures-") as made:
        program = browser() if stale else ""
        if "teams" in stale:
            cards(Path(made))
        for kind in stale:
            picture = photograph(program, kind, Path(made))
            (IMAGES / f"{kind}.png").write_bytes(picture)
            click.echo(f"{kind:14}{len(picture):7,} bytes")
    record = {kind: fingerprint(kind) for kind in sorted(PICTURED)}
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
