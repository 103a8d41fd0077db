"""What a link to the page shows elsewhere is ours: title, description, a picture that can be fetched, and an icon."""

from __future__ import annotations

import io
import urllib.request
from html.parser import HTMLParser

import pytest
from PIL import Image

from playground.ui.page import LEAD, NAME
from playground.ui.preview import HEIGHT, OWN_ROOT, WIDTH, Preview
from tests.serving import Served

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")


class Head(HTMLParser):
    """The tags of a page's head that are about the page, as whoever makes a preview reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said: dict[str, list[str]] = {}
        self.links: dict[str, str] = {}
        self._title = False
        self.feed(html)

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in given}
        if tag == "meta" and "content" in values:
            self.said.setdefault(values.get("property") or values.get("name", ""), []).append(values["content"])
        if tag == "link":
            self.links[values["rel"]] = values["href"]
        self._title = tag == "title"

    def handle_data(self, data: str) -> None:
        if self._title:
            self.said.setdefault("title", []).append(data)
            self._title = False


def fetched(url: str, **headers: str) -> bytes:
    asked = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(asked) as answer:
        return bytes(answer.read())


def test_title_description_and_picture_are_ours_and_said_once(server: Served) -> None:
    head = Head(fetched(server.url).decode())
    for name in ("title", "og:title", "twitter:title"):
        assert head.said[name] == [f"{NAME} playground"]
    for name in ("description", "og:description", "twitter:description"):
        assert head.said[name] == [LEAD]
    assert head.said["og:url"] == [server.url]
    assert head.said["og:image"] == head.said["twitter:image"] == [f"{server.url}preview.png"]
    assert head.said["twitter:card"] == ["summary_large_image"]
    named = [(name, text) for name, texts in head.said.items() for text in texts]
    assert not [pair for pair in named if "gradio" in " ".join(pair).lower()]


def test_the_picture_and_the_icon_are_there(server: Served) -> None:
    head = Head(fetched(server.url).decode())
    picture = Image.open(io.BytesIO(fetched(head.said["og:image"][0])))
    assert (picture.format, picture.size) == ("PNG", (WIDTH, HEIGHT))
    assert [head.said["og:image:width"], head.said["og:image:height"]] == [[str(WIDTH)], [str(HEIGHT)]]
    icon = fetched(server.url + head.links["icon"].removeprefix("./"))
    assert Image.open(io.BytesIO(icon)).format == "PNG"


def test_behind_a_proxy_the_addresses_are_those_of_the_proxy(server: Served) -> None:
    html = fetched(server.url, X_Forwarded_Host="play.example.org", X_Forwarded_Proto="https").decode()
    head = Head(html)
    assert head.said["og:image"] == ["https://play.example.org/preview.png"]
    assert head.said["og:url"] == ["https://play.example.org/"]


def test_a_compressed_page_has_the_same_head(server: Served) -> None:
    import gzip

    asked = urllib.request.Request(server.url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
        html = gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body
    assert Head(html.decode()).said["og:title"] == [f"{NAME} playground"]


def test_what_a_host_header_spells_cannot_leave_its_attribute_and_nothing_else_behind_the_head_is_touched() -> None:
    preview = Preview(None, 'A "title"', "<b>")  # type: ignore[arg-type]
    behind = b'<script>window.gradio_config = {"x": "<meta property=\\"og:title\\" />, \\"root\\":\\"http://a\\""};'
    html = b'<meta charset="utf-8" />\n<meta property="og:title" content="Gradio" />\n' + behind + b"</script>"
    written = preview.written(html, 'http://a"><script>alert(1)</script>').decode()
    assert "<script>alert" not in written
    assert Head(written).said["og:title"] == ['A "title"']
    assert Head(written).said["description"] == ["<b>"]
    assert written.endswith(f"{(behind + OWN_ROOT).decode()}</script>")


@pytest.mark.parametrize("header", ["Host", "X_Forwarded_Host", "X_Gradio_Server"])
def test_no_header_says_where_the_scripts_of_the_page_call(server: Served, header: str) -> None:
    value = "http://elsewhere.test" if header == "X_Gradio_Server" else "elsewhere.test"
    for _ in range(2):
        html = fetched(server.url, **{header: value}).decode()
        scripts = html[html.index("<script>") :]
        assert "elsewhere.test" not in scripts
        assert '"root":""' in scripts
        assert OWN_ROOT.decode() in scripts
        assert scripts.count("const root = window.gradio_config.root;") == 1
