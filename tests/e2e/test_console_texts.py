"""Three hundred hostile texts, wherever a page shows what somebody else wrote: none of them is more than text.

The texts are our own (`tests/vectors/hostile_texts.json`, by kind). Each is a key's, a user's and a model's name, the end user, session,
title and referer of a request, what a model says, thinks and calls tools by, what a provider complains of, what is logged of that, and a
comment of the configuration. No script runs, no other origin is asked, the policy has nothing to forbid, and
nothing in a page is an element that we did not make.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from e2e.browser import Console, console
from e2e.house import ADMIN_TOKEN, KEY, PROVIDER_SECRET, Gateway, configuration, send
from e2e.test_console_speed import ANSWER_MS, press

expect.set_options(timeout=30_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

GROUPS: dict[str, list[str]] = json.loads((Path(__file__).parents[1] / "vectors/hostile_texts.json").read_text())
TEXTS = [text for group in GROUPS.values() for text in group]
LONG = "<img src=x onerror=alert('long')>" + "W" * (1 << 20)
"""A line of a megabyte."""
ALL = "\n".join(TEXTS)
# From a key to the end of the frame that has it.
TIMED = """() => addEventListener('keydown', ({timeStamp}) =>
  requestAnimationFrame(() => setTimeout(() => window.__took.push(Math.round(performance.now() - timeStamp)))), true)"""

# What no page of ours has: elements, attributes and links that could only have come out of a text.
FOREIGN = """() => {
  const ours = new URL(location.href).origin, found = [];
  const names = 'iframe object embed base math video audio marquee applet portal template plaintext xmp frameset style foreignObject';
  for (const one of document.querySelectorAll('body *')) {
    const name = one.tagName.toLowerCase();
    if (names.toLowerCase().split(' ').includes(name)) found.push(one.outerHTML.slice(0, 200));
    if (name === 'script' && new URL(one.src || 'about:blank').origin !== ours) found.push(one.outerHTML.slice(0, 200));
    for (const attribute of one.attributes) {
      const value = attribute.value;
      if (/^on/i.test(attribute.name)) found.push(`${name} ${attribute.name}`);
      if (/^(href|src|action|formaction|srcset|poster|background|ping|data|xlink:href)$/i.test(attribute.name)
        && !/^data:image\\/svg/.test(value) && new URL(value, location.href).origin !== ours)
        found.push(`${name} ${attribute.name}=${value.slice(0, 100)}`);
      if (attribute.name === 'style' && /url\\(|expression/i.test(value)) found.push(`${name} style=${value.slice(0, 100)}`);
    }
  }
  return found;
}"""


class Speaker:
    """A provider that says everything, or complains with the text whose number the prompt is."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one piece.
    wbufsize = 1 << 16

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = asked["messages"][-1]["content"]
        if prompt.startswith("complain "):
            text = TEXTS[int(prompt.split()[1])]
            self._send(400, "application/json", json.dumps({"error": {"message": text, "type": text, "code": text}}).encode())
        elif asked.get("stream"):
            self._send(200, "text/event-stream", _stream([LONG] if len(asked["messages"]) == 1 else []))
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": prompt or "x"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            self._send(200, "application/json", json.dumps({"id": "c", "model": prompt, "choices": [choice], "usage": usage}).encode())

    def _send(self, status: int, type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _stream(more: list[str]) -> bytes:
    """Thoughts, words and calls of tools, one text each, and more words."""

    def chunk(delta: Any, finish: str | None = None, **more: Any) -> bytes:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "said"}
        return (
            b"data: " + json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}).encode() + b"\n\n"
        )

    frames = [chunk({"reasoning": f"{text}\n"}) for text in TEXTS]
    frames += [chunk({"content": f"{text}\n"}) for text in TEXTS]
    for index, text in enumerate(TEXTS):
        function = {"name": text, "arguments": json.dumps({text: text})}
        frames.append(chunk({"tool_calls": [{"index": index, "id": f"call-{index}", "type": "function", "function": function}]}))
    frames += [chunk({"content": text}) for text in more]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return b"".join([*frames, chunk({}, "tool_calls", usage=usage), b"data: [DONE]\n\n"])


def in_toml(text: str) -> str:
    """A string of the configuration."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def comment(text: str) -> str:
    """A line of it that says nothing to the gateway; the format allows no control characters there."""
    return "# " + "".join(character for character in text if character >= " " and character != "\x7f")


def spoken(address: str) -> str:
    """A configuration whose names, descriptions and comments are the texts."""
    prices = 'usd_per_million = { prompt = "1", completion = "1" }'
    endpoints = f'[{{ provider = "lab", upstream_model = "said", {prices} }}]'
    models = "".join(
        f'{comment(text)}\n[models."said/m{number}"]\nname = {in_toml(text)}\ndescription = {in_toml(text)}\nendpoints = {endpoints}\n'
        for number, text in enumerate(TEXTS)
    )
    provider = f'[providers.lab]\nname = {in_toml(TEXTS[0])}\ndialect = "openai_chat"\nkeys = ["{PROVIDER_SECRET}"]\nbase_url = "http://{address}/v1"\n'
    tables = provider + models + '[models."lab/said"]\nendpoints = ' + endpoints + "\n[logging]\ncontent = true\n"
    return configuration(None, tables=tables)


@pytest.fixture(scope="module")
def busy() -> Iterator[Gateway]:
    """A gateway in which every text has been everything that it can be."""
    speaker = Speaker()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(speaker.stop)
        gateway = stack.enter_context(Gateway(spoken(speaker.address)))

        def request(number: int) -> int:
            text = TEXTS[number]
            title = "".join(character for character in text if " " <= character <= "~")
            headers = {"x-title": title, "http-referer": title, "user-agent": title}
            prompt = text if number % 2 else f"complain {number}"
            body = {"model": f"said/m{number}", "user": text, "session_id": text, "messages": [{"role": "user", "content": prompt}]}
            return gateway.post("/api/v1/chat/completions", body, headers=headers).status

        def people(number: int) -> None:
            for kind in ("keys", "users", "teams"):
                assert gateway.operate("POST", f"/admin/{kind}", {"name": TEXTS[number]}).status in (201, 400)

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(request, range(len(TEXTS))))
            list(pool.map(people, range(len(TEXTS))))
        assert statuses.count(200) > 150 and statuses.count(400) > 150, {status: statuses.count(status) for status in statuses}
        for text in GROUPS["handlers"][:18]:
            body = json.dumps({"token": ADMIN_TOKEN}).encode()
            headers = {"content-type": "application/json", "origin": f"http://{gateway.admin}", "user-agent": text}
            assert send(gateway.admin, "POST", "/admin/session", body, headers).status == 200
        yield gateway


def look(window: Console) -> None:
    """Nothing on this page is more than text, and nothing happened that may not."""
    window.check()
    assert window.page.evaluate(FOREIGN) == []


def seen(page: Page) -> str:
    return str(page.locator("main").inner_text())


def test_there_are_enough_of_them() -> None:
    assert len(TEXTS) == len(set(TEXTS)) >= 300 and min(map(len, GROUPS.values())) >= 20


def test_names_and_records(browser: Browser, busy: Gateway) -> None:
    keys = busy.operate("GET", "/admin/keys").json()["data"]
    rows = busy.generations()
    assert len(keys) > 250 and len({row["end_user"] for row in rows}) > 330
    users = busy.operate("GET", "/admin/users").json()["data"]
    with console(browser, busy) as window:
        page = window.page
        own = [
            "/",
            "/?group=app",
            "/?group=model&chart=lines",
            "/?group=key&chart=share",
            "/?group=user",
            "/models",
            "/providers",
            "/start",
        ]
        own += ["/account", "/models/said/m1", "/models/said/m200", "/models/compare?ids=said/m1,said/m7,said/m60,said/m99"]
        own += [f"/keys/{key['hash']}" for key in keys[:: len(keys) // 3]] + [
            f"/users?user={user['id']}" for user in users[:: len(users) // 2]
        ]
        for path in own:
            window.go(path)
            look(window)
        # All keys and users are on one page.
        for path, names in (("/keys?show=all", keys), ("/users", users)):
            window.go(path)
            page.get_by_role("button", name="Show all").click()
            look(window)
            text = seen(page)
            assert sum(one["name"].strip() in text for one in names if one["name"].isascii()) > 180, path
        window.go("/audit?action=key.create")
        for _ in range(3):
            page.get_by_role("button", name="Older").click()
            window.settle()
        look(window)
        # The list of requests keeps only the rows in sight; every one comes by.
        for path in ("/requests?from=-1h", "/requests?from=-1h&failed=true"):
            window.go(path)
            page.mouse.move(600, 500)
            for _ in range(10):
                page.mouse.wheel(0, 1400)
                page.wait_for_timeout(30)
                look(window)
        for number in (2, 61, 310):
            id = rows[number]["id"]
            for tab in ("summary", "attempts", "losses", "raw"):
                window.go(f"/requests/{id}?tab={tab}")
                look(window)


def test_what_models_say(browser: Browser, busy: Gateway) -> None:
    """As a prompt, as thoughts, words and calls; with the line of a megabyte."""
    with console(browser, busy) as window:
        page = window.open("/playground?models=lab/said")
        page.get_by_label("Prompt").fill(ALL)
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("button", name="Send")).to_be_enabled(timeout=60_000)
        said = page.get_by_role("region", name="Text of lab/said")
        expect(said).to_contain_text("alert('long')")
        text = str(said.text_content())
        missing = [one for one in TEXTS if one.replace("\r", "\n").replace("\0", "") not in text.replace("\r", "\n").replace("\0", "")]
        assert not missing, missing[:5]
        closed = page.locator("main details:not([open]) > summary")
        while closed.count():
            closed.first.click()
        everything = str(page.locator("main").text_content())
        assert everything.count(TEXTS[0]) >= 4, "the prompt, the words, the thoughts, the calls"
        look(window)


MOST_CHARACTERS = 300
"""Of a part of the address are read so many."""
ADDRESSES = {
    "/": ["model", "provider", "app"],
    "/requests": ["app", "end_user", "session", "error", "model", "provider"],
    "/keys": ["q", "team"],
    "/budgets": ["q", "account"],
    "/users": ["q"],
    "/config": ["q", "source", "kept"],
    "/models/compare": ["ids"],
}


def pieces() -> list[str]:
    """All texts, as many together as are read."""
    found = [""]
    for text in TEXTS:
        if len(found[-1]) + len(text) + 1 > MOST_CHARACTERS:
            found.append("")
        found[-1] += f"{text} "
    return found


def test_what_stands_in_the_address(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.page
        left = pieces()
        for turn in range(100):
            for path, names in ADDRESSES.items():
                said = {name: left.pop() for name in names if left}
                # Once as a link that is opened, then as one within the page.
                (window.go if turn else window.open)(f"{path}?{urlencode(said)}")
                look(window)
            if not left:
                break
        assert not left
        for text in GROUPS["urls"][::7]:
            page.goto(f"/login?{urlencode({'next': text, 'error': text, 'error_description': text})}")
            expect(page.get_by_role("alert")).to_contain_text("did not let you in")
            look(window)
        page.goto(f"/login?{urlencode({'next': 'javascript:alert(1)'})}#code={'A' * 43}")
        expect(page.get_by_role("alert")).to_contain_text("does not log in")
        look(window)


def test_what_is_logged_of_it(browser: Browser, busy: Gateway) -> None:
    """Opened by an admin, and asked again in the playground."""
    turns = [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(TEXTS)]
    body = {"model": "lab/said", "stream": True, "messages": [*turns, {"role": "user", "content": ALL}]}
    reply = busy.post("/v1/chat/completions", body)
    assert reply.status == 200
    with console(browser, busy) as window:
        page = window.go(f"/requests/{reply.generation}?tab=content")
        page.get_by_role("button", name="Open the content").click()
        expect(page.get_by_role("region", name="The reply")).to_be_visible()
        shown = page.locator("main pre").all_text_contents()
        assert [plain(text) for text in shown[: len(TEXTS)]] == [plain(text) for text in TEXTS]
        for said in ("The reply", "Thoughts", "Calls of tools"):
            text = plain(str(page.get_by_role("region", name=said).text_content()))
            assert all(
                plain(one) in text
                for one in (json.dumps(each, ensure_ascii=False)[1:-1] if said == "Calls of tools" else each for each in TEXTS[:100])
            )
        look(window)
        page.get_by_role("button", name="Ask it in the playground").click()
        expect(page.get_by_role("heading", name="Playground", level=1)).to_be_visible()
        window.settle()
        assert plain(page.get_by_label("Prompt").input_value()) == plain(ALL)
        assert page.url.endswith("/playground?models=lab%2Fsaid")
        look(window)
    noted = busy.operate("GET", "/admin/audit?action=content.open").json()["data"]
    assert [one["target_id"] for one in noted] == [reply.generation]


def plain(text: str) -> str:
    """As it comes out of a document."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def test_comments_of_the_configuration(browser: Browser, busy: Gateway) -> None:
    """The file with all of them, as it is and as values in force."""
    with console(browser, busy) as window:
        shown = window.go("/config").get_by_label("Text of the configuration file").input_value()
        assert [text for text in TEXTS if comment(text) not in shown] == []
        look(window)
        window.go("/config?tab=values")
        look(window)


def insert(page: Page, text: str) -> None:
    """Writes all of a text at the cursor in one go, as dictation does and `fill` too, and waits until it is drawn."""
    page.keyboard.insert_text(text)
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")


def judged(page: Page) -> Locator:
    """What was found wrong with the text of the editor."""
    return page.get_by_role("tabpanel").get_by_role("list", name="What is wrong")


def test_all_of_it_in_the_editor(browser: Browser, busy: Gateway) -> None:
    """As comments and as strings, below the file that has it already: one change, judged and compared. It was two for each line, each of
    which drew the page and the numbers of all lines, and some thousands took minutes."""
    lines = [*map(comment, TEXTS), "[models]", *(f"said-{number} = {in_toml(text)}" for number, text in enumerate(TEXTS))]
    with console(browser, busy) as window:
        page = window.go("/config")
        box = page.get_by_label("Text of the configuration file")
        page.evaluate("() => { window.__changes = 0; addEventListener('input', () => window.__changes++); }")
        file = box.input_value()
        box.fill(f"{file}\n" + "\n".join(lines))
        assert page.evaluate("() => window.__changes") == 1
        assert box.input_value().split("\n")[-len(lines) :] == lines
        page.get_by_role("button", name="Validate").click()
        expect(judged(page)).to_be_visible()
        look(window)
        box.fill(f"{file}\n" + "\n".join(map(comment, TEXTS)))
        page.get_by_role("button", name="Diff").click()
        changed = page.get_by_role("region", name="Lines that would change")
        expect(changed).to_be_visible()
        assert str(changed.text_content()).count("\n+#") >= len(TEXTS)
        look(window)
        # As they are, which is no TOML at all.
        box.fill(ALL)
        assert plain(box.input_value()) == plain(ALL)
        page.get_by_role("button", name="Validate").click()
        expect(judged(page)).to_be_visible()
        look(window)
        page.get_by_role("button", name="Back to the file").click()
        expect(box).to_have_value(file)


@pytest.mark.proof
def test_a_long_text_in_the_editor(browser: Browser, busy: Gateway, proof: bool, counts: Callable[[int, int], int]) -> None:
    """Half a mebibyte, 20,000 lines: of their numbers a part is drawn, and a key is answered soon. What takes longer is refused."""
    most = 1 << 19
    with console(browser, busy) as window:
        page = window.open("/config")
        page.evaluate(TIMED)
        box = page.get_by_label("Text of the configuration file")
        numbers = page.locator("[class*=_gutter_] [data-wrong]")
        for what, text in {
            "half a mebibyte": ("# a line of it that is neither long nor short\n" * most)[: most - 1000],
            "20,000 lines": "# 1\n" * 20_000,
        }.items():
            box.fill(text)
            page.wait_for_timeout(500)
            for part in (0, 0.5, 1):
                box.evaluate("(box, part) => box.setSelectionRange(box.value.length * part, box.value.length * part)", part)
                page.evaluate("() => { window.__took = []; }")
                for key in (*"abcdef", "Enter", "Enter"):
                    press(page, key)
                    page.wait_for_timeout(counts(30, 250))
                assert 0 < numbers.count() <= 150
                answers = sorted(page.evaluate("() => window.__took"))
                print(f"{answers} ms: {what}, typed at {part}")
                if proof:
                    assert answers[len(answers) // 2] < ANSWER_MS, (what, part, answers)
            assert numbers.last.inner_text() == str(text.count("\n") + 7)
            page.get_by_role("button", name="Validate").click()
            expect(judged(page)).to_be_visible()
        page.get_by_role("button", name="Back to the file").click()
        kept = box.input_value()
        for text, why in {
            f"# {'W' * 400_000}": "has 400,002 characters, and 20,000 are the most of a line",
            f"# {'אב ' * 130_000}": "has 390,002 characters, and 20,000 are the most of a line",
            "# 1\n" * (1 << 18): "characters, and 524,288 are the most",
        }.items():
            box.press("Control+End")
            insert(page, f"\n{text}")
            expect(page.get_by_role("alert")).to_contain_text(why)
            assert box.input_value() == kept


def test_the_watch_would_notice(browser: Browser, busy: Gateway) -> None:
    """What these tests look for is found where it is."""
    window = Console(browser, busy).log_in()
    for deed in (
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://evil.example/x.png'}))",
        "alert(1)",
    ):
        window.open("/account")
        window.check()
        with contextlib.suppress(Exception):
            window.page.evaluate(f"() => {{ {deed} }}")
        window.page.wait_for_timeout(50)
        with pytest.raises(AssertionError):
            window.check()
        window.wrong.clear()
    window.open("/account")
    window.page.evaluate("() => document.body.append(document.createElement('iframe'))")
    assert window.page.evaluate(FOREIGN) == ["<iframe></iframe>"]
    window.close()


def test_nobodys_key_is_used(busy: Gateway) -> None:
    """The traffic is as it was before all of that."""
    assert busy.post("/v1/chat/completions", {"model": "lab/said", "messages": [{"role": "user", "content": "Hi"}]}, key=KEY).status == 200
