"""The page, in a real browser against a real server with a small collection."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import commonplace as cp
from commonplace.generation import Part, Request, Statement
from commonplace.server import KeyFile, Library, create_app
from commonplace.server.page import FOLDER
from tests.readers.make import Page, encoded, pdf, photo
from tests.readers.make_video import scene, video
from tests.server.conftest import serving

playwright = pytest.importorskip("playwright.sync_api", reason="the page is tested with Playwright (extra dev)")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
expect = playwright.expect
expect.set_options(timeout=20_000)
ATTACK = '<img src=x onerror="window.attacked = true"><script>window.attacked = true</script>'
NOTES = f"""# Pumps

## Seals

The north pump needs the blue seal every spring. Keep **two spare seals** in the workshop.

## Valves

The south pump has a brass valve. {ATTACK}
"""


class Patient:
    """Writes one sentence, and more only when it may go on."""

    name = "patient"
    fallback = False

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def generate(self, request: Request) -> Iterator[Part]:
        yield Statement("The north pump needs the blue seal every spring.", (0,), starts_paragraph=True)
        self.may_go_on.wait(20)
        yield Statement("It needs that seal every spring.", (0,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection ``kb`` of two texts, a PDF of two pages, four pictures, and a file that fails."""
    base: Path = tmp_path_factory.mktemp("page")
    files = base / "files"
    (files / "pictures").mkdir(parents=True)
    (files / "notes.md").write_text(NOTES)
    heading = "# Garden: what grows in the greenhouse behind the house and when it is sown"
    (files / "garden.md").write_text(f"{heading}\n\nTomatoes grow in the greenhouse from May to September.\n")
    top = Page(lines=[(60, 700, 14, "The compressor on the roof runs at 3.2 bar.")])
    low = Page(lines=[(60, 120, 14, "Its filter is changed in October by the caretaker.")])
    (files / "compressor.pdf").write_bytes(pdf(top, low))
    (files / "locked.pdf").write_bytes(pdf(top, locked=True))
    for number in range(3):
        (files / "pictures" / f"photo-{number}.png").write_bytes(encoded(photo(seed=number)))
    disc = Image.fromarray(np.full((90, 120, 3), 255, np.uint8))
    ImageDraw.Draw(disc).ellipse((30, 15, 90, 75), fill=(200, 20, 20))
    disc.save(files / "pictures" / "disc.png")
    with cp.open(base / "kb") as kb:
        kb.add(files, ocr=False, workers=1, progress=False)
    return base


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with serving(create_app(Library({"kb": str(folder / "kb")}, folder / "more"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    """A page of a fresh browser that must end without an error or a request to elsewhere."""
    context = browser.new_context(base_url=site, locale="en-GB", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(15_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: "Content Security" in line.text and troubles.append(line.text))
    page.on("request", lambda sent: sent.url.startswith((site, "blob:", "data:")) or troubles.append(sent.url))
    yield page
    context.close()
    assert troubles == []


def search(page: Any, words: str) -> None:
    page.get_by_role("searchbox").first.fill(words)
    page.keyboard.press("Enter")


def test_words_find_passages_and_pictures_and_the_address_keeps_the_state(page: Any) -> None:
    page.goto("/")
    search(page, "blue seal pump")
    passage = page.locator(".passage").first
    expect(passage).to_contain_text("blue seal")
    expect(passage.locator(".confidence")).to_have_text(re.compile("Very likely|Likely|Possible|Weak"))
    expect(page).to_have_url(re.compile(r"\?q=blue\+seal\+pump$"))
    passage.hover()
    passage.get_by_role("button", name="Why this score?").click()
    expect(page.locator(".popup.breakdown tr").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".popup")).to_have_count(0)
    page.get_by_role("button", name="Type", exact=True).click()
    page.get_by_role("button", name="Pictures", exact=True).click()
    expect(page.locator(".tile").first).to_be_visible()
    expect(page.locator(".passage")).to_have_count(0)
    assert "type=image" in page.url
    page.go_back()
    expect(page.locator(".passage").first).to_contain_text("blue seal")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("blue seal pump")
    expect(page.locator(".passage").first).to_contain_text("blue seal")


def test_filters_combine_and_can_be_taken_away(page: Any) -> None:
    page.goto("/?q=pump&type=notes&folder=garden")
    expect(page.locator(".passage")).to_have_count(1)
    expect(page.locator(".passage")).to_contain_text("Tomatoes")
    page.get_by_role("button", name="Remove the filter Folder").click()
    expect(page.locator(".passage").first).to_contain_text("pump")
    page.goto("/?q=pump&after=2199-01-01")
    expect(page.get_by_role("heading", name="Nothing was found")).to_be_visible()
    page.get_by_role("button", name="Remove all filters").click()
    expect(page.locator(".passage").first).to_contain_text("pump")
    page.get_by_role("button", name="Folder", exact=True).click()
    page.locator(".popup .option", has_text="pictures").click()
    expect(page.locator(".tile").first).to_be_visible()
    expect(page.locator(".passage")).to_have_count(0)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("/?q=tomatoes&folder=garden", ".passage"), ("/?q=pump", ".passage"), ("/?view=documents", ".row-open")],
)
def test_nothing_is_wider_than_a_phone(browser: Any, site: str, address: str, shown: str) -> None:
    context = browser.new_context(base_url=site, locale="en-GB", viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(address)
    expect(page.locator(shown).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_hits_that_are_most_get_most_of_the_width(page: Any) -> None:
    def with_one_passage(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        pictures = [hit for hit in body["hits"] if hit["thumbnail"]][:3]
        passages = [hit for hit in body["hits"] if not hit["thumbnail"]][:1]
        route.fulfill(response=response, json={**body, "hits": [*pictures, *passages]})

    page.route("**/search", with_one_passage)
    page.goto("/?q=a+picture+of+a+pump")
    expect(page.locator(".tile")).to_have_count(3)
    widths = [page.locator(kind).bounding_box()["width"] for kind in (".passages", ".pictures")]
    assert widths[1] > 1.8 * widths[0]


def test_a_passage_of_marks_alone_shows_them(page: Any) -> None:
    def with_a_fence(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        body["hits"] = [{**hit, "text": "```cpp", "name": "notes.md"} for hit in body["hits"][:1]]
        route.fulfill(response=response, json=body)

    page.route("**/search", with_a_fence)
    page.goto("/?q=pump&type=text")
    expect(page.locator(".passage .text")).to_have_text("```cpp")


def test_only_pictures_in_which_the_words_were_read(page: Any) -> None:
    def with_words(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        for hit in body["hits"]:
            if hit["name"] == "disc.png":
                hit.update(text="A sign. EXIT ONLY", span={"ocr_start": 8})
            elif hit["name"] == "photo-1.png":
                hit.update(text="An exit only, says the caption", span={})
        route.fulfill(response=response, json=body)

    page.route("**/search", with_words)
    page.goto("/")
    page.get_by_role("button", name="Words in pictures").click()
    page.locator(".popup input").fill("exit")
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".tile .file")).to_have_text("disc.png")


def test_a_picture_is_dropped_pasted_and_combined_with_words(page: Any, folder: Path) -> None:
    page.goto("/")
    page.locator(".box input[type=file]").set_input_files(folder / "files" / "pictures" / "disc.png")
    expect(page.locator(".tile .file").first).to_have_text("disc.png")
    expect(page.locator(".attached img")).to_be_visible()
    search(page, "a garden")
    expect(page).to_have_url(re.compile("q=a\\+garden.*image="))
    content = (folder / "files" / "pictures" / "photo-2.png").read_bytes()
    give = """([kind, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
      const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
        : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    for kinds in (["paste"], ["dragenter", "drop"]):
        page.goto("/")
        expect(page.get_by_role("searchbox")).to_be_visible()
        for kind in kinds:
            page.evaluate(give, [kind, list(content)])
        expect(page.locator(".tile .file").first).to_have_text("photo-2.png")
    page.evaluate("sessionStorage.clear()")
    page.reload()
    expect(page.get_by_role("heading", name="The picture is no longer here")).to_be_visible()


def test_more_like_this_and_not_like_this(page: Any) -> None:
    page.goto("/?q=a+picture&type=image")
    tile = page.locator(".tile", has_text="photo-1.png")
    tile.hover()
    tile.get_by_role("button", name="More like this").click()
    expect(page.locator(".attached.like")).to_be_visible()
    expect(page.locator(".tile .file").first).to_have_text("photo-1.png")
    tile = page.locator(".tile", has_text="photo-0.png")
    tile.hover()
    tile.get_by_role("button", name="Not like this").click()
    expect(page.locator(".attached.unlike")).to_be_visible()
    assert "like=" in page.url and "unlike=" in page.url
    page.get_by_role("button", name="Remove: Not like this").click()
    expect(page.locator(".attached.unlike")).to_have_count(0)


def test_an_answer_leads_to_its_paragraph(page: Any) -> None:
    page.goto("/")
    search(page, "Which seal does the north pump need?")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("blue seal")
    marker = answer.locator("button.marker").first
    marker.focus()
    expect(page.locator(".card-over")).to_contain_text("blue seal every spring")
    marker.press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".here mark").first).to_contain_text("The north pump needs the blue seal")
    expect(viewer.locator("strong")).to_have_text("two spare seals")
    assert "open=" in page.url
    page.go_back()
    expect(viewer).to_have_count(0)
    expect(answer).to_contain_text("blue seal")


def test_an_answer_leads_to_the_page_with_its_box(page: Any) -> None:
    page.goto("/?q=At+which+pressure+does+the+compressor+on+the+roof+run%3F")
    page.locator(".answer button.marker").first.click()
    image = page.locator(".sheet img")
    expect(image).to_be_visible()
    red = """async (image) => {
      await image.decode();
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let at = 0; at < data.length; at += 4) count += data[at] > 190 && data[at + 1] < 70 && data[at + 2] < 70;
      return count;
    }"""
    assert image.evaluate(red) > 500
    expect(page.locator(".page-words")).to_contain_text("3.2 bar")


def test_text_of_documents_never_becomes_html(page: Any) -> None:
    page.goto("/?q=Which+valve+does+the+south+pump+have%3F")
    expect(page.locator(".answer")).to_contain_text("brass valve")
    page.locator(".passage .open", has_text="brass valve").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("onerror")
    assert page.evaluate("window.attacked") is None
    with pytest.raises(playwright.Error, match="TrustedHTML"):
        page.evaluate("() => { document.body.innerHTML = '<i>' }")


def test_an_abstention_says_so_and_shows_what_is_near(page: Any) -> None:
    page.goto("/?q=Who+painted+the+ceiling+of+the+Sistine+Chapel%3F")
    expect(page.get_by_role("heading", name="The sources do not answer this")).to_be_visible()
    expect(page.locator(".passage, .tile").first).to_be_visible()
    expect(page.get_by_role("button", name="Save with pictures")).to_have_count(0)


def test_an_answer_is_saved_as_one_file(page: Any) -> None:
    page.goto("/?q=At+which+pressure+does+the+compressor+on+the+roof+run%3F")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save with pictures").click()
    text = Path(download.value.path()).read_text()
    assert download.value.suggested_filename == "At-which-pressure-does-the-compressor-on-the-roof-run.html"
    assert "3.2 bar" in text and 'src="data:image/' in text and "http" not in text and "<script" not in text
    assert 'href="#source-1"' in text and 'id="source-1"' in text


def test_an_answer_streams_after_its_evidence_and_can_be_stopped(browser: Any, folder: Path) -> None:
    patient = Patient()
    with serving(create_app(Library({"kb": str(folder / "kb")}, generator=patient))) as address:
        page = browser.new_page(base_url=address)
        page.goto("/?q=Which+seal+does+the+north+pump+need%3F")
        expect(page.locator(".passage").first).to_contain_text("blue seal")
        expect(page.locator(".answer .sentence")).to_have_count(1)
        expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".answer")).to_contain_text("Stopped.")
        patient.may_go_on.set()
        page.get_by_role("button", name="Ask again").click()
        expect(page.locator(".answer .sentence")).to_have_count(2)
        expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
        page.close()


def test_thumbs_become_labels(page: Any, folder: Path) -> None:
    page.goto("/?q=greenhouse+vegetables")
    passage = page.locator(".passage", has_text="Tomatoes")
    passage.hover()
    passage.get_by_role("button", name="Good hit").click()
    expect(passage.get_by_role("button", name="Good hit")).to_have_attribute("aria-pressed", "true")
    with cp.open(folder / "kb") as kb:
        assert [(query, good) for query, _image, _item, good in kb.labels()] == [("greenhouse vegetables", True)]


def test_documents_show_their_status_and_can_be_retried_and_removed(page: Any, folder: Path) -> None:
    page.goto("/?view=documents")
    row = page.locator(".row", has_text="locked.pdf")
    expect(row).to_contain_text("Not read")
    expect(row.locator(".reason")).to_contain_text("password")
    (folder / "files" / "locked.pdf").write_bytes(pdf(Page(lines=[(60, 700, 14, "The ladder stands in the shed.")])))
    row.hover()
    row.get_by_role("button", name="Read locked.pdf again").click()
    expect(row.locator(".status")).to_have_text("Read")
    row.get_by_role("button", name="Remove locked.pdf").click()
    page.get_by_role("button", name="Undo").click()
    expect(row).not_to_have_class(re.compile("leaving"))
    page.get_by_role("searchbox", name="Filter by name").fill("GARD")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("garden.md")


def test_pictures_are_seen_in_the_list_and_a_name_opens_its_document(page: Any) -> None:
    page.goto("/?view=documents&name=disc")
    row = page.locator(".row", has_text="disc.png")
    expect(row.locator("lazy-picture.loaded img")).to_be_visible()
    row.get_by_role("button", name="Open disc.png").click()
    expect(page.locator("dialog.viewer h2")).to_contain_text("disc.png")
    page.goto("/?view=documents&name=garden")
    expect(page.locator(".row", has_text="garden.md")).to_be_visible()
    expect(page.locator(".row lazy-picture")).to_have_count(0)


def test_the_first_run_makes_a_collection_and_reads_a_dropped_folder(page: Any, site: str) -> None:
    made = page.request.post("/v1/collections", data={"name": "fresh"})
    assert made.status == 201
    page.goto("/?collection=fresh")
    expect(page.get_by_role("heading", name="Make a folder answer questions")).to_be_visible()
    page.locator(".add-buttons input").first.set_input_files(
        [
            {"name": "moon.md", "mimeType": "text/markdown", "buffer": b"The moon is made of basalt and anorthosite."},
            {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 nothing"},
        ]
    )
    expect(page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    page.get_by_role("button", name="Documents").click()
    expect(page.locator(".job")).to_contain_text("Added 1 of 2 files")
    expect(page.locator(".job .reasons")).to_contain_text("broken.pdf")
    expect(page.locator(".row", has_text="moon.md")).to_contain_text("Read")
    page.reload()  # a failed upload leaves no document: it stays in view until it is dismissed or mended
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload broken.pdf again").click()
    mended = pdf(Page(lines=[(60, 700, 14, "Mars is red.")]))
    chooser.value.set_files({"name": "other.pdf", "mimeType": "application/pdf", "buffer": mended})
    expect(page.locator(".row", has_text="broken.pdf")).to_contain_text("Read")
    expect(page.locator(".job .reasons")).to_have_count(0)
    page.goto("/?q=moon&collection=fresh")
    expect(page.locator(".passage").first).to_contain_text("basalt")


def test_a_server_with_keys_asks_for_one(browser: Any, folder: Path) -> None:
    keys = KeyFile(folder / "keys.json")
    secret = keys.add("reader", ["read"])
    with serving(create_app(Library({"kb": str(folder / "kb")}), keys=keys)) as address:
        page = browser.new_page(base_url=address)
        page.goto("/?q=photo&type=image")
        dialog = page.get_by_role("dialog", name="This server needs a key")
        for given in ("wrong", secret):
            dialog.get_by_label("Key", exact=True).fill(given)
            dialog.get_by_role("button", name="Go on").click()
            if given == "wrong":
                expect(dialog.get_by_role("alert")).to_contain_text("not valid")
        expect(page.locator(".tile lazy-picture.loaded").first).to_be_visible()
        expect(page.get_by_role("button", name="Good hit")).to_have_count(0)
        page.close()


def test_the_page_speaks_chinese_and_keeps_the_choice(browser: Any, site: str) -> None:
    context = browser.new_context(base_url=site, locale="zh-CN", viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("heading", name="您在找什么？")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    context.close()


def test_every_word_of_the_page_has_a_translation() -> None:
    used: set[str] = set()
    for path in FOLDER.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        used.update(re.findall(r'\bt\("((?:[^"\\]|\\.)*)"', text))
        used.update(several for _single, several in re.findall(r'\bn\("([^"]*)", "([^"]*)"', text))
    translated = set(re.findall(r'^  "((?:[^"\\]|\\.)*)": "', (FOLDER / "words.zh.js").read_text(), re.MULTILINE))
    assert used == translated


def test_the_first_view_is_small_and_guarded(page: Any) -> None:
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    response = page.goto("/")
    expect(page.get_by_role("searchbox")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert 20_000 < sum(sizes) < 150_000
    policy = response.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)';", policy)
    assert nonce is not None and "unsafe" not in policy and nonce[1] in response.text()
    assert page.request.get("/").headers["content-security-policy"] != policy
    old = page.request.get("/page/000000000000/app.js")
    assert old.status == 404 and "sandbox" in old.headers["content-security-policy"]


@pytest.mark.parametrize("has_key", [False, True])
def test_a_film_is_played_from_the_second_of_its_hit(browser: Any, tmp_path: Path, has_key: bool) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    film = video(scene(1, 100), "webm", "libvpx", options={"deadline": "realtime", "cpu-used": "8"})
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "pump.webm").write_bytes(film)
    cue = "1\n00:00:02,500 --> 00:00:03,500\nThe north pump was repaired.\n"
    (tmp_path / "films" / "pump.srt").write_text(cue, encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "films", ocr=False, workers=1, progress=False)
    keys = KeyFile(tmp_path / "keys.json")
    secret = keys.add("reader", ["read"])
    app = create_app(Library({"kb": str(tmp_path / "kb")}), keys=keys if has_key else None)
    with serving(app) as address:
        page = browser.new_page(base_url=address)
        troubles: list[str] = []
        page.on("console", lambda line: "Content Security" in line.text and troubles.append(line.text))
        page.add_init_script(f"sessionStorage.setItem('commonplace-key', '{secret}')" if has_key else "")
        page.goto("/")
        search(page, "When was the pump repaired?")
        page.get_by_role("button", name="Type", exact=True).click()
        page.get_by_role("button", name="Video", exact=True).click()
        page.locator(".passage", has_text="repaired").first.get_by_role("button").first.click()
        player = page.locator("video.player")
        expect(player).to_be_visible()
        expect(player).to_have_js_property("currentTime", 2.5)  # wait_for_function() needs eval, which the page forbids
        assert player.get_attribute("src").startswith("blob:" if has_key else "/v1/")
        assert troubles == []
        page.close()
