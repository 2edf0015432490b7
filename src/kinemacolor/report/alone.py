"""The page in one file, its pictures inside: to send, or to stand in Snakemake's report, where nothing lies beside it.

Made from the page as it was written, so that the two cannot say different things. Videos are too large for it: of each its
poster stands there with a sentence, and what plays them goes. So do links to pictures, since a browser opens no picture that
lies inside a page.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from kinemacolor.files import atomic_file

_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".svg": "image/svg+xml"}
# The template quotes every value with " and escapes what stands in it, so that a tag ends with its first >.
_TAG = re.compile(r"<(?:img|a|button)\b[^>]*>")
_FILM = re.compile(r'(<video\b[^>]*>)</video>(?:\s*<p class="missing note">.*?</p>)?', re.DOTALL)
_STEP = re.compile(r'<div class="step".*?</div>\s*', re.DOTALL)  # holds no other div
_VALUE = re.compile(r'\s(src|href|data-panels)="([^"]*)"')


def write_alone(page: Path, out: Path) -> None:
    """Write `page` with every picture that it shows inside.

    Args:
        page: what `build_page` wrote, with its pictures where it looks for them; those that are missing stay out.
        out: the HTML file, written atomically.
    """
    embedded = functools.cache(functools.partial(_embedded, Path(page).parent))
    text = Path(page).read_text(encoding="utf-8")
    head, body, rest = re.split(r"(<body>.*?(?=<script>|</body>))", text, maxsplit=1, flags=re.DOTALL)
    still = _FILM.sub(lambda film: _still(film[1]), _STEP.sub("", body))
    inside = head + _TAG.sub(lambda tag: _VALUE.sub(lambda value: _replaced(value, embedded), tag[0]), still) + rest
    with atomic_file(out) as temporary:
        temporary.write_text(inside, encoding="utf-8")


def _still(video: str) -> str:
    """What stands for a video, by its tag: its poster, if it has one, and where the video is not."""
    said = dict(re.findall(r'\s([a-z-]+)="([^"]*)"', video))
    note = '<p class="note">The video is not in this file.</p>'
    if "poster" not in said:
        return note
    shape = "".join(f' {name}="{said[name]}"' for name in ("width", "height") if name in said)
    return f'<img class="still" src="{said["poster"]}"{shape} alt="{said.get("aria-label", "")}, a still">\n{note}'


def _replaced(value: re.Match, embedded: Callable[[str], str | None]) -> str:
    """An attribute as it stands in the file alone."""
    name, said = value[1], html.unescape(value[2])
    if name == "href":
        local = not re.match(r"#|[a-z]+:", said)
        return "" if local else value[0]
    if name == "data-panels":
        panels = {panel: embedded(link) or link for panel, link in json.loads(said).items()}
        return f' {name}="{html.escape(json.dumps(panels, sort_keys=True))}"'
    inside = embedded(said)
    return value[0] if inside is None else f' {name}="{inside}"'


def _embedded(folder: Path, link: str) -> str | None:
    """A picture as the address that holds it; None if there is no such picture."""
    path = folder / unquote(link)
    if path.suffix.lower() not in _KINDS or not path.is_file():
        return None
    return f"data:{_KINDS[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"
