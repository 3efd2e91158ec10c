"""What people set in their system or their browser: forced colours, zoom, less motion. On every page, looked at by one table each."""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from e2e.browser import Console, console
from e2e.furnished import PAGES, Furnished, furnished
from e2e.house import Provider

expect.set_options(timeout=20_000)
LAID_OUT_SECONDS = 5.0
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Drawn as a background, which forced colours take away.
DRAWN = {
    "a meter": "[role=meter] > span",
    "a share": "[class*=_bar_] > span",
    "a half hour": "[class*=_strip_] > span",
    "a series": "[class*=_swatch_]",
    "a time": "[class*=_track_] > span",
}
# What is chosen, beside what is not.
CHOSEN = {
    "a pressed button": ("button[aria-pressed=true]", "button[aria-pressed=false]"),
    "a tab": ("[role=tab][aria-selected=true]", "[role=tab][aria-selected=false]"),
    "a page": ("nav a[aria-current=page]", "nav a:not([aria-current])"),
    "a row": ("tr[class*=_current_] td", "tr[class*=_row_]:not([class*=_current_]) td"),
}
LOOK_AT_COLOURS = """([drawn, chosen]) => {
  const clear = (colour) => colour === 'transparent' || /^rgba.*, 0\\)$/.test(colour);
  const behind = (one) => {
    for (let at = one.parentElement; at; at = at.parentElement)
      if (!clear(getComputedStyle(at).backgroundColor)) return getComputedStyle(at).backgroundColor;
    return 'rgb(255, 255, 255)';
  };
  const shown = (one) => one.checkVisibility({visibilityProperty: true}) && one.getBoundingClientRect().width > 0;
  const seen = {}, lost = [];
  for (const [what, selector] of Object.entries(drawn)) {
    for (const one of [...document.querySelectorAll(selector)].filter(shown)) {
      seen[what] = (seen[what] ?? 0) + 1;
      const colour = getComputedStyle(one).backgroundColor;
      if (clear(colour) || colour === behind(one)) lost.push(`${what}: ${colour} on ${behind(one)}`);
    }
  }
  const looks = (one) => {
    const style = getComputedStyle(one);
    return JSON.stringify([style.backgroundColor, style.color, style.borderBottomColor, style.outlineStyle, style.fontWeight]);
  };
  for (const [what, [is, is_not]] of Object.entries(chosen)) {
    const [one, other] = [is, is_not].map((selector) => [...document.querySelectorAll(selector)].find(shown));
    if (!one || !other) continue;
    seen[what] = (seen[what] ?? 0) + 1;
    if (looks(one) === looks(other)) lost.push(`${what}: as what is not chosen: ${looks(one)}`);
  }
  return [seen, lost];
}"""
# What charts are drawn with, on the background that there is.
CONTRASTS = """() => {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.forcedColorAdjust = 'none';
  const rgb = (colour) => {
    probe.style.color = colour;
    return getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  };
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map((one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light('Canvas'), found = {};
  for (const name of ['--muted', '--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--good', '--warn', '--bad']) {
    const one = light(`var(${name})`);
    found[name] = (Math.max(one, ground) + 0.05) / (Math.min(one, ground) + 0.05);
  }
  probe.remove();
  return found;
}"""
# Of what is drawn in charts every opaque colour, and the colours of the theme that is asked for.
DRAWN_INKS = """() => [...document.querySelectorAll('canvas')].flatMap((one) => {
  const {data} = one.getContext('2d').getImageData(0, 0, one.width, one.height), found = new Set();
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] === 255) found.add(`rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`);
  return [...found];
})"""
INKS = {
    "light": {"rgb(11, 92, 173)", "rgb(176, 74, 83)", "rgb(0, 154, 210)"},
    "dark": {"rgb(108, 178, 247)", "rgb(221, 95, 94)", "rgb(98, 242, 239)"},
}
# Beyond the window's edge without a place that scrolls, or text that is cut off.
CUT = """() => {
  const edge = document.documentElement.clientWidth, found = [];
  const scrolls = (one) => {
    for (let at = one.parentElement; at; at = at.parentElement)
      if (/auto|scroll/.test(getComputedStyle(at).overflowX) && at !== document.body && at.scrollWidth > at.clientWidth) return true;
    return false;
  };
  for (const one of document.querySelectorAll('body *')) {
    if (!one.checkVisibility({visibilityProperty: true}) || one.closest('.sr-only, canvas, svg')) continue;
    const box = one.getBoundingClientRect(), style = getComputedStyle(one);
    const says = `${one.tagName} ${one.className} ${one.textContent.slice(0, 60)}`;
    if (box.width === 0 || box.height === 0) continue;
    if ((box.right > edge + 1 || box.left < -1) && !scrolls(one)) found.push(`beyond the edge (${box.left} to ${box.right}): ${says}`);
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text) continue;
    if (/hidden|clip/.test(style.overflowX) && style.textOverflow !== 'ellipsis' && one.scrollWidth > one.clientWidth + 1)
      found.push(`cut at its side: ${says}`);
    if (/hidden|clip/.test(style.overflowY) && one.scrollHeight > one.clientHeight + 2) found.push(`cut below: ${says}`);
  }
  return found.slice(0, 5);
}"""
MOVING = """() => [...document.querySelectorAll('*')].filter((one) => ['', '::before', '::after'].some((part) => {
  const style = getComputedStyle(one, part || null);
  return style.animationName !== 'none' || style.transitionDuration.split(',').some((each) => parseFloat(each) > 0)
    || style.scrollBehavior === 'smooth';
})).map((one) => one.outerHTML.slice(0, 120)).concat(document.getAnimations().map((each) => `an animation: ${each.animationName}`))"""


@pytest.fixture(scope="module")
def house(provider: Provider) -> Iterator[Furnished]:
    with furnished(provider) as running:
        yield running


# 1280 by 800 at 200 % and at 400 %.
ENLARGED = {"at 200 %": (640, 400), "at 400 %": (320, 256)}
MOTION, COLOURS = "with less motion", "in forced colours"


def cut_off(window: Console) -> list[str]:
    """What of a page is lost in its window. Charts follow a window's new width a moment later."""
    end = time.monotonic() + LAID_OUT_SECONDS
    while True:
        found = [str(line) for line in window.page.evaluate(CUT)]
        if (by := window.wide_by()) > 0:
            found.append(f"{by} px wider than the window")
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lost(browser: Browser, house: Furnished) -> dict[str, list[str]]:
    """What every page loses under each preference, looked for in one walk; under `seen` what forced colours could have taken."""
    found: dict[str, list[str]] = {name: [] for name in (*ENLARGED, MOTION, COLOURS, "seen")}
    with console(browser, house) as window:
        for path in PAGES:
            page = window.go(house.place(path))
            page.emulate_media(forced_colors="active")
            seen, gone = page.evaluate(LOOK_AT_COLOURS, [DRAWN, CHOSEN])
            found["seen"] += seen
            found[COLOURS] += [f"{path}: {line}" for line in dict.fromkeys(gone)]
            page.emulate_media(forced_colors="none", reduced_motion="reduce")
            found[MOTION] += [f"{path}: {line}" for line in page.evaluate(MOVING)]
            page.emulate_media(reduced_motion="no-preference")
            for name, (width, height) in ENLARGED.items():
                page.set_viewport_size({"width": width, "height": height})
                window.settle()
                found[name] += [f"{path}: {line}" for line in cut_off(window)]
            page.set_viewport_size({"width": 1280, "height": 800})
    return found


@pytest.mark.parametrize("preference", [*ENLARGED, MOTION, COLOURS])
def test_nothing_is_lost(lost: dict[str, list[str]], preference: str) -> None:
    assert not lost[preference], "\n".join(lost[preference])
    assert set(lost["seen"]) == {*DRAWN, *CHOSEN}, f"not on any page: {({*DRAWN, *CHOSEN}) - set(lost['seen'])}"


@pytest.mark.parametrize("system", ["light", "dark"])
def test_charts_stand_on_the_systems_colours(browser: Browser, house: Furnished, system: str) -> None:
    """Also for who chose the other theme in the console, which holds again as soon as no colours are forced."""
    with console(browser, house, theme=system, forced_colors="active") as window:
        page = window.open("/")
        for chosen in ("system", "light", "dark"):
            for how in ("at the start", "while it is open"):
                kept = f"localStorage.{'removeItem' if chosen == 'system' else 'setItem'}('fairlead.theme', {json.dumps(chosen)})"
                page.evaluate(f"() => {kept}")
                page.emulate_media(forced_colors="active" if how == "at the start" else "none")
                window.open("/")
                if how == "while it is open":
                    expected = {"system": None, "light": "light", "dark": "dark"}[chosen]
                    assert page.evaluate("() => document.documentElement.dataset.theme ?? null") == expected
                    page.emulate_media(forced_colors="active")
                    page.wait_for_function("() => !document.documentElement.dataset.theme")
                low = {name: ratio for name, ratio in page.evaluate(CONTRASTS).items() if ratio < (4.5 if name == "--muted" else 3)}
                assert not low, (chosen, how, low)


@pytest.mark.parametrize("chosen", ["system", "light", "dark"])
def test_charts_are_drawn_in_the_colours_of_the_theme(browser: Browser, house: Furnished, chosen: str) -> None:
    """In those of both themes, as the system changes; in no others, such as the white of uPlot's own points."""
    other = {"light": "dark", "dark": "light"}
    with console(browser, house) as window:
        if chosen != "system":
            window.context.add_init_script(f"localStorage.setItem('fairlead.theme', '{chosen}')")
        page = window.open("/")
        for system in ("dark", "light", "dark"):
            page.emulate_media(color_scheme=system)
            theme = system if chosen == "system" else chosen
            page.wait_for_function(f"(inks) => inks.every((ink) => ({DRAWN_INKS})().includes(ink))", arg=sorted(INKS[theme]))
            drawn = set(page.evaluate(DRAWN_INKS))
            assert not drawn & {*INKS[other[theme]], "rgb(255, 255, 255)", "rgb(0, 0, 0)"}, (system, drawn)


def test_nothing_moves_while_it_loads(browser: Browser, house: Furnished) -> None:
    with console(browser, house, reduced_motion="reduce") as window:
        page, held = window.page, list[Route]()
        page.route("**/admin/keys", lambda route: held.append(route), times=1)
        # A place for the page stands there before, too, while its log-in and its code are loaded.
        with page.expect_request("**/admin/keys"):
            page.goto("/keys")
        page.locator("main [class*=_skeleton_]").first.wait_for()
        moving = page.evaluate(MOVING)
        assert len(held) == 1
        held[0].continue_()
        window.settle()
        assert not moving, "\n".join(moving)


def test_text_comes_in_steps_for_who_wants_less_motion(browser: Browser, house: Furnished) -> None:
    """Between two pictures of an answer lies half a second; only its end does not wait."""

    def gaps(motion: Any) -> list[float]:
        with console(browser, house, reduced_motion=motion) as window:
            page = window.open("/playground?models=lab/slow")
            page.evaluate("""() => {
              window.__drawn = [];
              let before = '';
              new MutationObserver(() => {
                const now = document.querySelector('[aria-label="Text of lab/slow"]')?.textContent ?? '';
                if (now !== before) window.__drawn.push(performance.now());
                before = now;
              }).observe(document.querySelector('main'), {subtree: true, childList: true, characterData: true});
            }""")
            page.get_by_label("Prompt").fill(" ".join(f"word{number}" for number in range(120)))
            page.get_by_role("button", name="Send").click()
            expect(page.get_by_role("region", name="Answer of lab/slow").get_by_text("done")).to_be_visible()
            times = page.evaluate("() => window.__drawn")
            return [after - before for before, after in pairwise(times)]

    steps = gaps("reduce")
    assert all(gap > 450 for gap in steps[1:-1]), steps
    assert len(gaps("no-preference")) > len(steps)
