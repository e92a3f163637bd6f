"""The documentation's site in a browser: at a phone's width, light and dark, and its search."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.site_pages import build_site

if TYPE_CHECKING:
    from collections.abc import Iterator

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")

PHONE, DESK = 390, 1280
SCRIPT = Path(__file__).with_name("measure_site.js")
PAGE = "<!doctype html><meta charset=utf-8><iframe></iframe><script>{}</script>"


class Handler(SimpleHTTPRequestHandler):
    """The site, the script that looks at its pages, and a place for what it found."""

    answers: Queue[Any]

    def do_GET(self) -> None:  # type: ignore[explicit-override]
        if self.path.startswith("/measure?"):
            body = PAGE.format(SCRIPT.read_text()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.answers.put(json.loads(body))

    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


@contextmanager
def browser(address: str, directory: Path) -> Iterator[None]:
    """A browser that reaches no host but this one, at ``address``."""
    words = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1400,1000",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={directory}",
        address,
    ]
    with subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(directory)},
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def ask(site: Path, directory: Path, **question: object) -> Any:
    """What ``measure_site.js`` answers to ``question``."""
    answers: Queue[Any] = Queue()
    handler = type("Answering", (Handler,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/measure?{json.dumps(question)}"
        try:
            with browser(address, directory):
                return answers.get(timeout=300)
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def measured(site: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pages = [
        str(path.relative_to(site))
        for path in sorted(site.rglob("*.html"))
        if path.name != "404.html"
    ]
    found: list[dict[str, Any]] = ask(
        site, tmp_path_factory.mktemp("browser"), pages=pages, widths=[PHONE, DESK]
    )
    assert len(found) == len(pages) * 2
    return found


def test_no_page_is_wider_than_the_screen(measured: list[dict[str, Any]]) -> None:
    """What is wide, such as a table or a block of code, scrolls by itself."""
    assert [(one["page"], one["width"], one["wide"]) for one in measured if one["over"] > 0] == []


def test_text_stands_out_from_its_background(measured: list[dict[str, Any]]) -> None:
    faint = {(one["scheme"], *word) for one in measured for word in one["faint"]}
    assert sorted(faint, key=str) == []


def test_nothing_comes_from_another_host(measured: list[dict[str, Any]]) -> None:
    assert {host for one in measured for host in one["hosts"]} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("locale-gen", "howto/instead-of.html"),
        ("guide ubuntu", "howto/questions.html"),
        ("go back", "howto/upgrade-and-go-back.html"),
    ],
)
def test_the_search_finds_the_page(words: str, page: str, site: Path, tmp_path: Path) -> None:
    found = ask(site, tmp_path, search=words, until=page)
    assert any(link.partition("?")[0].partition("#")[0].endswith(page) for link in found)


def test_the_search_works_without_a_web_server(site: Path, tmp_path: Path) -> None:
    """Opened from a directory, where browsers start no workers."""
    page = (site / "index.html").read_text()
    asking = SCRIPT.with_name("search_site.js").read_text()
    probe = site / "probe.html"
    probe.write_text(page.replace("</body>", f"<script>{asking}</script></body>"))
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            "--virtual-time-budget=60000",
            f"--user-data-dir={tmp_path}",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    probe.unlink()
    assert 'data-found="' in done.stdout
    assert "howto/upgrade-and-go-back.html?h=rollback" in done.stdout
