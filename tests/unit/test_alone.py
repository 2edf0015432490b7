"""The page in one file: every picture inside to the byte, nothing that leads to a file beside it."""

import base64
import html
import json
import re

import pytest
from PIL import Image

from kinemacolor.report.alone import write_alone
from kinemacolor.report.page import build_page

from .made_page import made_page

PAGE = """<!doctype html><html><head><meta charset="utf-8"><script>const tag = "<img src='not/a/tag.png'>";</script></head><body>
<p>1 &lt; 2 &amp; <a href="#film">here</a>, <a href="https://example.org/film?a=1&amp;b=2">there</a>
<figure><a href="film/a%20sheet.png"><img class="still" src="film/a%20sheet.png" alt="a &#34;sheet&#34;" loading="lazy"></a></figure>
<div class="step" role="group"><button type="button" class="play">Play all in step</button></div>
<video controls src="../data/render/film/net.mp4" poster="film/poster.jpg" width="30" height="20" aria-label="a &#34;net&#34;"></video>
<p class="missing note">The video is not on this disk: <code>make all</code> builds it.</p>
<video controls src="../data/render/film/none.mp4" aria-label="none"></video>
<img src="film/missing.png" alt=""><img src="{inside}" alt="">
<button type="button" data-panels="{panels}">0:01</button>
</body></html>
"""


@pytest.fixture
def written(tmp_path):
    """A page with its pictures, and what becomes of it alone, elsewhere."""
    (tmp_path / "reports/film").mkdir(parents=True)
    Image.new("RGB", (30, 20), (200, 80, 40)).save(tmp_path / "reports/film/a sheet.png")
    Image.new("RGB", (30, 20), (20, 80, 40)).save(tmp_path / "reports/film/poster.jpg")
    panels = html.escape(json.dumps({"grey": "film/poster.jpg", 'a "net"': "film/a%20sheet.png", "gone": "film/gone.png"}))
    page = tmp_path / "reports/index.html"
    page.write_text(PAGE.replace("{panels}", panels).replace("{inside}", "data:image/png;base64,AAAA"), encoding="utf-8")
    write_alone(page, tmp_path / "elsewhere/page.html")
    return tmp_path / "reports", (tmp_path / "elsewhere/page.html").read_text(encoding="utf-8")


def held(address):
    kind, _, data = address.partition(";base64,")
    return kind, base64.b64decode(data)


def test_pictures_stand_inside_to_the_byte(written):
    folder, text = written
    sheet = ("data:image/png", (folder / "film/a sheet.png").read_bytes())
    poster = ("data:image/jpeg", (folder / "film/poster.jpg").read_bytes())
    assert held(re.search(r'<img class="still" src="([^"]+)"', text)[1]) == sheet
    still = re.search(r'<img class="still" src="([^"]+)" width="30" height="20" alt="a &#34;net&#34;, a still">', text)
    assert held(still[1]) == poster
    panels = json.loads(html.unescape(re.search(r' data-panels="([^"]+)"', text)[1]))
    assert held(panels["grey"]) == poster and held(panels['a "net"']) == sheet
    assert panels["gone"] == "film/gone.png", "what is not there cannot stand inside"


def test_all_else_stays_as_it_was(written):
    folder, text = written
    for kept in (
        "<script>const tag = \"<img src='not/a/tag.png'>\";</script>",
        '<p>1 &lt; 2 &amp; <a href="#film">here</a>, <a href="https://example.org/film?a=1&amp;b=2">there</a>',
        'alt="a &#34;sheet&#34;" loading="lazy"></a>',
        '<img src="film/missing.png" alt=""><img src="data:image/png;base64,AAAA" alt="">',
    ):
        assert kept in text
    assert "<figure><a><img" in text, "a browser opens no picture that lies inside a page"
    assert (folder / "index.html").read_text(encoding="utf-8").count("<") > text.count("<")


def test_no_video_is_promised_that_does_not_travel(written, tmp_path):
    text = written[1]
    assert "<video" not in text and "Play all" not in text and "on this disk" not in text and "../data" not in text
    assert text.count('<p class="note">The video is not in this file.</p>') == 2
    films = {}
    for name in ("film", "naive", "net"):
        films[name] = tmp_path / f"data/render/film/{name}.mp4"
        films[name].parent.mkdir(parents=True, exist_ok=True)
        films[name].write_bytes(b"not looked into")
    sheet = tmp_path / "reports/film/a sheet.png"
    build_page(made_page(tmp_path / "reports", sheet, films), tmp_path / "reports/index.html")
    whole = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    assert whole.count("<video") == 3 and 'class="step"' in whole and "not in this file" not in whole
    write_alone(tmp_path / "reports/index.html", tmp_path / "data/page.html")
    alone = (tmp_path / "data/page.html").read_text(encoding="utf-8")
    assert "<video" not in alone and 'class="step"' not in alone and "data/render" not in alone and "on this disk" not in alone
    assert alone.count("The video is not in this file.") == 3
    script = re.search(r"<script>.*</script>", whole, re.DOTALL)[0]
    assert script in alone, "the policy knows it by its bytes"
    ends = re.findall(
        r"</?(div|figure|p|details|section|table)\b", re.sub(r"<(script|style)>.*?</\1>", "", alone, flags=re.DOTALL)
    )
    assert all(alone.count(f"<{tag}>") + alone.count(f"<{tag} ") == alone.count(f"</{tag}>") for tag in set(ends))
