"""The page in a real browser: it sorts, wipes, plays in step, obeys the keyboard, fits a phone and asks nobody for anything."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kinemacolor.report.page import build_page

from .browsing import chromium
from .made_page import PANELS, made_page, video


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with two films that are there, and one that was deleted since."""
    root = tmp_path_factory.mktemp("page") / "reports"
    root.mkdir()
    Image.new("RGB", (30, 20), (200, 80, 40)).save(root / "a sheet.png")
    films = {name: video(root.parent / "data" / "render" / f"{name}.mp4") for name in ("naive", "net")}
    data = made_page(root, root / "a sheet.png", films | {"film": root.parent / "data" / "gone.mp4"})
    build_page(data, root / "index.html")
    html = (root / "index.html").read_text(encoding="utf-8")
    assert html.count('preload="metadata"') == 3
    (root / "saving.html").write_text(html.replace('preload="metadata"', 'preload="none"'), encoding="utf-8")
    return (root / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page at desktop width. Whatever it asks for is a file of its own, and its script complains of nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    asked, said = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("console", lambda message: said.append(message.text) if "Content Security" in message.text else None)
    opened.goto(address)
    yield opened
    assert said == []
    root = address.rsplit("/", 2)[0]
    assert asked and all(url.startswith(root) for url in asked), [url for url in asked if not url.startswith(root)]
    context.close()


def order(page: Any) -> list[str]:
    return [text.split()[0] for text in page.locator("table.figures").first.locator("tbody th").all_inner_texts()]


def colours(page: Any) -> np.ndarray:
    """Colours of the wiped picture at a tenth and at nine tenths of its width, (2,3)."""
    shot = Image.open(io.BytesIO(page.locator(".wipe .picture").screenshot())).convert("RGB")
    return np.array([shot.getpixel((round(shot.width * share), shot.height // 4)) for share in (0.1, 0.9)], int)


def shows(page: Any, left: str, right: str, *, moment: int = 0) -> bool:
    wanted = np.array([PANELS[left], PANELS[right]]) // (moment + 1)
    return bool(np.abs(colours(page) - wanted).max() <= 3)


def until(page: Any, condition: str) -> None:
    """Wait until an expression holds. Playwright's own way asks for it by `eval`, which the page's policy refuses."""
    page.evaluate(
        f"""() => new Promise((done, fail) => {{
            const look = () => ({condition}) ? done() : requestAnimationFrame(look);
            setTimeout(() => fail(new Error("never came")), 30000);
            look();
        }})"""
    )


def loaded(page: Any) -> None:
    """Wait until both pictures of the wipe are there."""
    page.locator(".wipe").scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('.wipe img')].every(image => image.complete && image.naturalWidth)")


def test_a_column_sorts_both_ways_and_what_is_not_known_stands_last(page: Any):
    assert order(page) == ["naive", "net", "far"]
    head = page.get_by_role("button", name="MSE ab").first
    head.click()
    assert order(page) == ["net", "naive", "far"]
    assert page.locator("th[aria-sort=ascending]").count() == 1
    head.focus()
    page.keyboard.press("Enter")
    assert order(page) == ["far", "naive", "net"]
    assert page.locator("th[aria-sort=descending]").count() == 1
    for _ in range(2):  # only net has one
        page.get_by_role("button", name="LPIPS").first.click()
        assert order(page)[0] == "net"
    page.get_by_role("button", name="Model").first.click()
    assert order(page) == ["far", "naive", "net"]
    assert page.locator("table.figures tfoot").first.inner_text().startswith("the truth")


def test_columns_are_chosen_with_the_keyboard(page: Any):
    def shown() -> list[str]:
        return [
            head.inner_text() for head in page.locator("table.figures").first.locator("thead button").all() if head.is_visible()
        ]

    assert "MSE ab" in shown() and "AuC" not in shown() and "Flicker" in shown()
    page.get_by_label("The main ones").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Of pixels").is_checked()
    assert "AuC" in shown() and "PSNR" not in shown() and "Flicker" not in shown()
    page.get_by_label("Of motion").check()
    assert shown() == ["Model", "Flicker"]
    page.get_by_label("All", exact=True).check()
    assert {"MSE ab", "AuC", "FD mobilenet_v2", "Flicker"} <= set(shown())


def test_the_wipe_follows_the_pointer_and_the_keyboard(page: Any):
    loaded(page)
    assert shows(page, "grey", "truth")
    border, box = page.locator(".wipe input[type=range]"), page.locator(".wipe .picture").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
    assert float(border.input_value()) == pytest.approx(95, abs=1.5)
    assert shows(page, "grey", "grey")
    page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 20, steps=4)
    page.mouse.up()
    assert float(border.input_value()) == pytest.approx(30, abs=1.5)
    page.keyboard.press("Home")
    assert border.input_value() == "0" and shows(page, "truth", "truth")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert border.input_value() == "99.5"
    assert border.get_attribute("aria-valuetext") == "grey to 100 %, then truth"


def test_the_border_is_taken_hold_of_with_a_finger(page: Any):
    """Some browsers move a range by its thumb alone."""
    loaded(page)
    border, box = page.locator(".wipe input[type=range]"), page.locator(".wipe .picture").bounding_box()
    middle, high = box["x"] + box["width"] / 2, box["y"] + 40
    for beside in (-18, 18):
        page.mouse.move(middle + beside, high)
        page.mouse.down()
        assert border.input_value() == "50", "who takes the thumb beside its middle does not move it"
        page.mouse.up()
    page.mouse.click(middle + 30, high)
    assert float(border.input_value()) == pytest.approx(50 + 3000 / box["width"], abs=0.5), "beside the thumb it goes there"
    for value, share in ((0, 0), (100, 1)):
        border.fill(str(value))
        edge = page.locator(".wipe .border").bounding_box()
        assert edge["x"] + edge["width"] / 2 == pytest.approx(box["x"] + share * box["width"], abs=1)
        page.mouse.move(box["x"] + share * box["width"] + (15 if share == 0 else -15), high)
        page.mouse.down()
        assert border.input_value() == str(value)
        page.mouse.up()


def test_the_wipe_shows_any_two_of_all_panels_at_any_moment(page: Any):
    loaded(page)
    page.locator("select.left").select_option("net")
    page.locator("select.right").select_option("other")
    loaded(page)
    assert shows(page, "net", "other")
    page.get_by_role("button", name="Swap").click()
    loaded(page)
    assert shows(page, "other", "net")
    later = page.get_by_role("button", name="2:00")
    later.focus()
    page.keyboard.press("Space")
    loaded(page)
    assert shows(page, "other", "net", moment=2)
    assert later.get_attribute("aria-pressed") == "true"
    assert page.locator(".moments [aria-pressed=true]").count() == 1
    assert page.locator(".wipe img.left").get_attribute("alt") == "other"


MUTED = "[...document.querySelectorAll('.films video')].map(video => video.muted)"
TIMES = "[...document.querySelectorAll('.films video')].map(video => video.currentTime)"
NEAR = f"(() => {{ const [a, b] = {TIMES}; return Math.abs(a - b) < .1; }})()"
RUNNING = "[...document.querySelectorAll('.films video')].every(video => !video.paused && video.currentTime > %s)"
STOPPED = "[...document.querySelectorAll('.films video')].every(video => video.paused)"


def test_videos_play_in_step(page: Any):
    page.locator(".films").scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('.films video')].every(video => video.readyState >= 1)")
    button, seek = page.locator(".step .play"), page.locator(".step .seek")
    button.click()
    until(page, f"{RUNNING % 0.3} && {NEAR}")
    assert button.inner_text() == "Pause all"
    assert page.evaluate(MUTED) == [False, True]
    # One that fell behind is led back.
    page.evaluate("document.querySelectorAll('.films video')[1].currentTime += 3")
    until(page, NEAR)
    # All go where the bar is put, playing or not.
    seek.evaluate("bar => { bar.value = 10; bar.dispatchEvent(new Event('input')); }")
    until(page, f"{RUNNING % 10} && {NEAR}")
    # Who stops one stops all.
    page.evaluate("document.querySelectorAll('.films video')[1].pause()")
    until(page, STOPPED)
    assert button.inner_text() == "Play all in step"
    seek.focus()
    before = float(seek.input_value())
    page.keyboard.press("ArrowRight")
    until(page, f"{TIMES}.every(time => Math.abs(time - {before + 0.04}) < .05)")
    button.focus()
    page.keyboard.press("Space")
    until(page, RUNNING % before)
    page.keyboard.press("Space")
    until(page, STOPPED)
    assert page.evaluate(MUTED) == [False, False], "each sounds again by its own button"
    page.locator(".step .sound").uncheck()
    button.click()
    until(page, RUNNING % before)
    assert page.evaluate(MUTED) == [True, True]
    button.click()
    assert page.evaluate(MUTED) == [False, False]


def test_videos_play_in_step_where_a_browser_loads_none_before(page: Any, address: str):
    page.goto(address.replace("index.html", "saving.html"))
    page.locator(".films").scroll_into_view_if_needed()
    assert page.evaluate("[...document.querySelectorAll('.films video')].map(video => video.readyState)") == [0, 0]
    page.locator(".step .play").click()
    until(page, f"{RUNNING % 0.3} && {NEAR}")
    assert page.locator(".step .play").inner_text() == "Pause all"
    assert page.locator(".step .seek").evaluate("bar => Number(bar.max)") == pytest.approx(20, abs=0.5)


def test_a_film_that_is_not_there_keeps_no_other_from_playing(page: Any):
    page.locator(".films").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('.films video').src = 'gone.mp4'")
    until(page, "document.querySelector('.films video').error")
    page.locator(".step .play").click()
    until(page, "document.querySelectorAll('.films video')[1].currentTime > .3")
    assert page.evaluate(MUTED) == [False, False], "the first that is there is heard"


def test_a_film_that_is_not_there_is_said_to_be(page: Any):
    until(page, "document.querySelector('.hero video').classList.contains('absent')")
    assert page.locator(".hero .missing").is_visible()
    assert not page.locator(".films .missing").first.is_visible()


def test_nothing_but_files_beside_it_may_be_loaded_and_no_other_script_runs(browser: Any, address: str):
    context = browser.new_context()
    page = context.new_page()
    answered = []
    page.on("response", lambda response: answered.append(response.url))
    page.goto(address)
    refused = page.evaluate(
        """() => new Promise(done => {
            const found = [];
            document.addEventListener("securitypolicyviolation", event => {
                found.push(event.effectiveDirective);
                if (found.length === 3) done(found.sort());
            });
            const add = (tag, set) => document.body.append(Object.assign(document.createElement(tag), set));
            add("img", { src: "https://example.org/pixel.png" });
            add("script", { textContent: "window.ran = true" });
            fetch("https://example.org/").catch(() => {});
        })"""
    )
    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.ran") is None
    assert all(url.startswith("file:") for url in answered)
    context.close()


def test_the_keyboard_reaches_everything_from_the_top(page: Any):
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(260):
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.setAttribute('data-reached', '')")
        if page.evaluate("document.activeElement === document.body"):
            break
    for wanted in (
        *("main a[href]", "thead button", "fieldset.choose input:checked", "summary", "pre", ".films video"),
        *(".wipe .picture input", "select.left", "select.right", "button.swap", ".moments button"),
        *("button.play", "input.seek", "input.sound", "select.speed"),
        "div.scroll",  # wide tables scroll under the arrow keys
    ):
        seen = page.locator(f"{wanted}:visible")
        missed = page.locator(f"{wanted}:not([data-reached]):visible")
        assert seen.count() and not missed.count(), (wanted, missed.all_inner_texts())


def test_nothing_moves_when_pictures_come(page: Any):
    height = page.evaluate("document.documentElement.scrollHeight")
    for picture in page.locator("img[loading=lazy]").all():
        if picture.is_visible():
            picture.scroll_into_view_if_needed()
    until(page, "[...document.images].every(image => image.complete || !image.checkVisibility())")
    assert page.evaluate("document.documentElement.scrollHeight") == height


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Any, address: str, scheme: str):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, has_touch=True, color_scheme=scheme
    )
    page = context.new_page()
    page.goto(address)
    for folded in page.locator("summary").all():
        if folded.evaluate("summary => !summary.parentElement.open"):
            folded.click()
    loaded(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("visualViewport.scale") == 1
    box = page.locator(".wipe .picture").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    assert float(page.locator(".wipe input[type=range]").input_value()) == pytest.approx(25, abs=2)
    small = page.evaluate(
        "[...document.querySelectorAll('button, select')].filter(one => one.closest('.controls, .step'))"
        ".map(one => one.getBoundingClientRect().height).filter(height => height < 34)"
    )
    assert small == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.removeprefix("rgb(").removesuffix(")").split(", "))) < 300) == (scheme == "dark")
    context.close()
