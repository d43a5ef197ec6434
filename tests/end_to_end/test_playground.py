"""The playground as a person uses it: the real page from the real host, in real headless Chromium."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Literal

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.end_to_end.picture_models import DARK, LIGHT, in_base64
from tests.end_to_end.running_host import RunningHost

OpenPage = Callable[..., Any]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium")

# Of every visible text element, its colour against the first opaque background behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("h1, h2, p, label, legend, button, input, td, th, caption, pre, span")];
  return texts.filter((e) => e.getClientRects().length && (e.textContent.trim() || e.value)).map((e) => {
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(behind(e))];
    return [e.tagName + " " + e.textContent.trim().slice(0, 20), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, app_host: RunningHost) -> Iterator[OpenPage]:
    """Return a function that opens the playground; ``errors`` and requests to ``elsewhere`` are noted on the page."""
    pages: list[Any] = []

    def open_playground(width: int = 1400, scheme: Literal["light", "dark"] = "light") -> Any:
        page: Any = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.errors, page.elsewhere = [], []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(app_host.url) else page.elsewhere.append(r.url))
        page.goto(f"{app_host.url}/api/playground")
        expect(page.locator("#predict")).to_be_enabled()
        # Polled from here: the page's content security policy forbids a script that polls.
        for _ in range(600):
            if page.evaluate("Boolean(document.getElementById('picture').grid)"):
                break
            page.wait_for_timeout(50)
        pages.append(page)
        return page

    yield open_playground
    for page in pages:
        assert page.errors == []
        assert page.elsewhere == []
        page.close()


def answers(page: Page) -> list[float]:
    """Return the numbers in the answer's table."""
    page.locator("#answer table").wait_for()
    return [float(text) for text in page.locator("#answer td").all_inner_texts()]


def test_the_form_of_the_signature_predicts(open_page: OpenPage, app_host: RunningHost) -> None:
    page = open_page()

    page.click("#predict")

    labels = httpx.post(f"{app_host.url}/api/PredictParity", json={"X": "1 0|0 1"}).json()["labels"]
    assert answers(page) == [label for [label] in labels]
    assert "by parity/1" in page.inner_text("#answer")
    assert "On the server: parse" in page.inner_text("#answer")


def test_enter_predicts_too(open_page: OpenPage) -> None:
    page = open_page()

    page.locator("#inputs input").first.press("Enter")

    assert len(answers(page)) == 2


def test_rows_can_be_added_and_removed(open_page: OpenPage) -> None:
    page = open_page()

    page.click("text=Add a row")
    page.click("#predict")
    assert len(answers(page)) == 3

    page.locator("#inputs button[aria-label^=Remove]").first.click()
    page.locator("#inputs button[aria-label^=Remove]").first.click()
    page.click("#predict")
    expect(page.locator("#answer td")).to_have_count(1)


@pytest.mark.parametrize("text", ["", "one", "1,5", "Infinity"])
def test_an_invalid_value_is_reported_beside_its_field(open_page: OpenPage, text: str) -> None:
    page = open_page()
    field = page.locator("#inputs input").nth(2)

    field.fill(text)
    page.click("#predict")

    expect(page.locator("#inputs .wrong")).to_contain_text(f'X, row 2, column 1: "{text}"')
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()


def test_the_curl_gives_the_same_answer(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#inputs input").first.fill("0.25")
    page.click("#predict")
    shown = answers(page)

    command = page.inner_text("#curl").replace("\n", " ")
    answer = json.loads(subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout)

    assert answer["outputs"][0]["data"] == shown


def test_a_click_on_the_surface_fills_the_form_and_asks(open_page: OpenPage) -> None:
    page = open_page()
    box = page.locator("#picture").bounding_box()

    # From -0.25 to 1.25: a sixth of the way is 0, five sixths are 1. First input 0, second 1.
    page.mouse.click(box["x"] + box["width"] / 6, box["y"] + box["height"] / 6)

    fields = [float(page.locator("#inputs input").nth(index).input_value()) for index in (0, 1)]
    assert fields == pytest.approx([0, 1], abs=0.01)
    assert answers(page)[0] > 0.95


def test_the_surface_shows_what_the_model_answers(open_page: OpenPage) -> None:
    page = open_page()

    low, high = float(page.inner_text("#low")), float(page.inner_text("#high"))
    colours = page.evaluate("""() => {
        const grid = document.getElementById("picture").grid.getContext("2d");
        return [[10, 10], [50, 10]].map(([x, y]) => [...grid.getImageData(x, y, 1, 1).data.slice(0, 3)]);
    }""")

    assert 0 <= low < 0.05
    assert 0.95 < high <= 1
    [near_0_1, near_1_1] = colours
    assert sum(near_0_1) > sum(near_1_1) + 200  # yellow is 1, violet is 0


def test_another_range_is_drawn(open_page: OpenPage) -> None:
    page = open_page()

    page.fill("#from", "-3")
    page.fill("#to", "3")
    page.click("#redraw")

    expect(page.locator("#left")).to_have_text("-3")
    expect(page.locator("#top")).to_have_text("3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1600])
def test_text_fits_and_has_contrast_in_light_and_dark_narrow_and_wide(open_page, width, scheme):
    page = open_page(width, scheme)
    page.click("#predict")
    answers(page)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrasts = dict(page.evaluate(CONTRASTS))
    assert len(contrasts) > 15
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("name", ["several", "normalized", "image", "recurrent", "embedding", "lookup", "vectorized"])
def test_the_form_of_any_model_predicts_as_it_opens(browser, models_host, models, name):
    page = browser.new_page()
    page.goto(f"{models_host.url}/api/playground")
    expect(page.locator("#predict")).to_be_enabled()

    page.select_option("#model", name)
    expect(page.locator("#state")).to_have_text(f"{name}: version 1")
    expect(page.locator("#inputs legend")).to_have_text(list(models[name].feeds))
    page.click("#predict")

    page.locator("#answer table").first.wait_for()
    assert page.locator("#answer table").count() == len(models[name].answers)
    page.close()


@pytest.fixture
def open_pictures(browser, pictures_host):
    """Return a function that opens the playground on a model of ``picture_models``."""
    pages = []

    def open_model(name, width=1400, scheme="light", **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        page.goto(f"{pictures_host.url}/api/playground")
        expect(page.locator("#predict")).to_be_enabled()
        page.select_option("#model", name)
        expect(page.locator("#state")).to_have_text(f"{name}: version 1")
        pages.append(page)
        return page

    yield open_model
    for page in pages:
        page.close()


def choose_picture(page, content=LIGHT):
    file = {"name": "sun & moon's.png", "mimeType": "image/png", "buffer": content}
    page.set_input_files("#inputs input[type=file]", file)


def expect_classes(page, *names):
    expect(page.locator("#answer table.classes th[scope=row]")).to_have_text(list(names))


def test_the_classes_of_numbers_are_named_by_row(open_pictures):
    page = open_pictures("named")

    page.click("#predict")

    expect_classes(page, "dark", "light", "light", "dark")  # of 1, 0, 1 and of 0, 1, 0


# How a page gets a file by a drop or from the clipboard: an event with a DataTransfer.
HAND_OVER = """([selector, kind, base64]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  transfer.items.add(new File([bytes], "handed.png", { type: "image/png" }));
  const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: transfer, bubbles: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""


def test_a_chosen_picture_is_named_with_bars_and_shown_as_the_model_sees_it(open_pictures):
    page = open_pictures("shade")

    choose_picture(page)

    expect_classes(page, "light", "dark")
    bars = page.locator("#answer meter").evaluate_all("bars => bars.map((bar) => bar.value)")
    assert bars[0] > 0.7 > 0.3 > bars[1]
    sizes = page.locator("#answer img").evaluate_all("images => images.map((i) => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[8, 8]]
    assert page.locator("#photo img").evaluate("image => image.naturalWidth") == 20


@pytest.mark.parametrize(("selector", "kind"), [(".drop", "drop"), ("body", "paste")])
def test_a_picture_can_be_dropped_and_pasted(open_pictures, selector, kind):
    page = open_pictures("shade")

    page.evaluate(HAND_OVER, [selector, kind, in_base64(DARK)])

    expect_classes(page, "dark", "light")
    expect(page.locator("#photo figcaption")).to_have_text("handed.png")


def test_the_curl_of_a_picture_gives_the_same_answer(open_pictures, tmp_path):
    page = open_pictures("shade")
    choose_picture(page)
    expect_classes(page, "light", "dark")
    (tmp_path / "sun & moon's.png").write_bytes(LIGHT)

    command = page.inner_text("#curl")
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, cwd=tmp_path)

    assert [one["class"] for one in json.loads(done.stdout)["predictions"][0]] == ["light", "dark"]


def test_without_a_picture_and_with_a_bad_one_the_page_says_what_is_wrong(open_pictures):
    page = open_pictures("shade")

    page.click("#predict")
    expect(page.locator("#inputs .wrong")).to_have_text("Choose a picture first.")

    choose_picture(page, b"no picture")
    expect(page.locator("#answer .wrong")).to_contain_text("Picture 1 is not a picture in a format that is read")


def test_a_large_tensor_is_summarized_and_never_printed(open_pictures):
    page = open_pictures("large")
    page.fill("#inputs .fill", "0.25")

    page.click("#predict")

    summary = "FP32 [1,40,40,3], 4,800 values from 0.25 to 0.25, 0.25 on average."
    expect(page.locator("#answer")).to_contain_text(summary)
    assert len(page.locator("body").inner_text()) < 2000
    assert page.evaluate("document.body.scrollHeight") < 2000
    done = subprocess.run(["bash", "-c", page.inner_text("#curl")], capture_output=True, check=True)
    assert json.loads(done.stdout)["outputs"][0]["data"] == [0.25] * 4800


def test_a_reload_keeps_the_model_and_what_was_entered(open_page, open_pictures):
    page = open_page()
    page.click("text=Add a row")
    page.locator("#inputs input").nth(5).fill("0.75")
    page.reload()
    expect(page.locator("#inputs .row")).to_have_count(3)
    expect(page.locator("#inputs input").nth(5)).to_have_value("0.75")

    pictures = open_pictures("shade")
    choose_picture(pictures)
    expect_classes(pictures, "light", "dark")
    pictures.reload()
    expect(pictures.locator("#model")).to_have_value("shade")
    expect(pictures.locator("#photo figcaption")).to_have_text("sun & moon's.png")
    pictures.click("#predict")
    expect_classes(pictures, "light", "dark")

    pictures.select_option("#model", "large")
    pictures.fill("#inputs .fill", "0.5")
    pictures.reload()
    expect(pictures.locator("#inputs .fill")).to_have_value("0.5")


def test_copy_says_so_until_the_request_changes(open_pictures):
    page = open_pictures("large", permissions=["clipboard-read", "clipboard-write"])

    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    page.fill("#inputs .fill", "2")
    expect(page.locator("#copy")).to_have_text("Copy")

    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    expect(page.locator("#copy")).to_have_text("Copy")  # after a while


def test_the_surface_works_by_keyboard(open_page):
    page = open_page()
    page.focus("#picture")

    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    fields = [float(page.locator("#inputs input").nth(index).input_value()) for index in (0, 1)]
    page.keyboard.press("Enter")

    assert fields == pytest.approx([0.475, 0.525], abs=0.001)
    assert len(answers(page)) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1400])
@pytest.mark.parametrize("name", ["parity", "shade", "large"])
def test_axe_finds_nothing(open_page, open_pictures, name, width, scheme):
    page = open_page(width, scheme) if name == "parity" else open_pictures(name, width, scheme)
    if name == "shade":
        choose_picture(page)
        expect_classes(page, "light", "dark")
    else:
        page.click("#predict")
        page.locator("#answer p").nth(1).wait_for()

    found = Axe().run(page)

    assert found.response["violations"] == [], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_that_is_gone_is_reported(open_page: OpenPage) -> None:
    page = open_page()
    page.route("**/infer", lambda route: route.abort())

    page.click("#predict")

    expect(page.locator("#answer")).to_contain_text("The server can't be reached. Is it running?")
    page.errors.clear()  # the browser logs the failed request


def test_an_app_without_models_says_what_to_do(browser, start_host, app_root, tmp_path):
    host = start_host(app_root, SERVING_MODEL_PATH=tmp_path)
    page = browser.new_page()

    page.goto(f"{host.url}/api/playground")

    expect(page.locator("#state")).to_have_text("There is no model. Put one under model/<name>/1/ and export it.")
    page.close()


def test_the_policy_lets_the_page_load_nothing_from_elsewhere(app_host: RunningHost) -> None:
    response = httpx.get(f"{app_host.url}/api/playground")

    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "http" not in response.text.replace("http-equiv", "").split("<script>")[0]
