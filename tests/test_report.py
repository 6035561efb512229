"""The report: what is in the page, and how it behaves in a browser."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reporting.plots import drawings
from lifegen.benchmark.reporting.report import report
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.record import Status
from lifegen.benchmark.store.store import Store

from .stores import write

EVIL = "x:<b>&amp;\"'"
"""A label that would be markup where something forgot to escape it."""


class Page(HTMLParser):
    """A page's elements and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, *names: str) -> list[str]:
        return [value for _, attributes in self.elements for name in names if (value := attributes.get(name))]


def with_facts(store: Store) -> Store:
    """Put in what a worker would have written about the machine."""
    for cell in store.cells():
        record = cell.record
        machine = {"system": "Linux-<6>", "processor": "x86_64", "cores": 2}
        record |= {"machine": machine, "versions": {"python": "3.11.7", "torch": "2.11.0"}}
        record |= {"started": "2026-03-01T10:00:00+00:00"}
        if "finished" in record:
            record["finished"] = "2026-03-02T11:30:00+00:00"
        write_record(cell.folder, record)
    return Store(store.path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two scenarios, three seeds; a cell of each kind that is left out."""
    store = Store.create(tmp_path_factory.mktemp("report") / "store")
    for scenario in ("split-x", "split-y:steps=5"):
        for seed, (naive, good, batch) in enumerate([(50, 30, 20), (52, 31, 21), (54, 35, 20)]):
            write(store, "naive", seed, naive, reference="lower", scenario=scenario)
            write(store, "good", seed, good, scenario=scenario)
            write(store, "better", seed, good - 5 + seed, scenario=scenario, uses=("past-data",))
            write(store, "batch", seed, batch, reference="upper", intervals=1, scenario=scenario)
    for file in store.path.glob("cells/split-y*/pictures.npz"):  # the other scenario has enough
        file.unlink()
    write(store, "ewc", 0, 41, threshold=3)
    write(store, "single", 0, 40, options="codes=1", intervals=1)
    write(store, EVIL, 0, 44)
    write(store, "lost", 7, 30, status="failed")
    write(store, "good", 8, 30, status="running")
    write(store, "fresh", 0, 30, version=9)
    write(store, "fresh", 0, 30, version=1)
    return with_facts(store)


@pytest.fixture(scope="module")
def file(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(store, tmp_path_factory.mktemp("page") / "new" / "report.html")


@pytest.fixture(scope="module")
def page(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def test_it_has_every_scenario_method_and_command(page):
    for text in ("split-x", "split-y:steps=5", "naive ▼", "batch ▲", "better ●", "good", EVIL, "ewc:threshold=3",
                 "lifegen run -s split-x"):  # fmt: skip
        assert text in page.text
    assert "Across scenarios" in page.text
    assert "mean of the scenarios' scores" in page.text


def test_it_begins_with_findings_and_the_final_figures(page):
    places = [page.source.index(part) for part in ('id="findings"', 'id="figure-1"', 'id="figure-2"', 'id="what"')]
    assert places == sorted(places)
    assert 'download="final.csv"' in page.source[places[1] : places[2]]
    assert page.source.count('download="final.csv"') == 2  # one a scenario, nowhere else
    for sentence in ("better is first by negative ELBO, 28.0 ± 9.0 nats", "batch ▲ is at 20.3 ± 1.4 nats"):
        assert page.text.count(sentence) == 2
    contents = page.source[page.source.index("<nav") : page.source.index("</nav")]
    assert contents.index("#findings-2") < contents.index("#what")


def test_no_rank_makes_no_findings(few_figures, tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "naive", 0, 50, reference="lower")
    assert "so nothing can be said about their order" in Page(report(with_facts(store)).read_text()).text


def test_it_says_what_is_left_out_and_why(page):
    for text in ("failed", "ValueError: boom", "3 of 3 intervals",
                 "method fresh is version 1, not 9"):  # fmt: skip
        assert text in page.text
    assert "1 interrupted, 1 failed, 1 stale" in page.text
    for status in (Status.INTERRUPTED, Status.FAILED, Status.STALE):
        assert status.sentence in page.text
    assert "3 of 4" in page.text  # seeds of good


def test_it_has_every_figure_with_its_caption_and_data(page, store):
    names = {"final", "negative_elbo", "matrix", "gradient_norm_steps", "samples-naive", "style_grid-good"}
    assert {f"{name}.csv" for name in names} <= set(page.values("download"))
    final = next(drawings(store, ["final"], scenario="split-x"))
    assert final.title in page.values("aria-label")
    assert final.title.removeprefix("split-x: ") in page.text
    data = {attributes["download"]: attributes["href"] for _, attributes in page.elements if "download" in attributes}
    head, _, table = unquote(str(data["matrix.csv"])).partition(",")
    assert head.startswith("data:text/csv")
    assert len(list(csv.DictReader(io.StringIO(table)))) > 9


def test_it_compares_methods_in_words_and_numbers(page):
    assert "pairs differ at 5 % after correction" in page.text
    assert "Smallest resolvable difference" in page.text
    assert "can’t be concluded" in page.text


def test_it_says_what_it_was_made_on_and_what_metrics_mean(page):
    for text in ("Linux-<6>", "3.11.7", "2.11.0", "between 2026-03-01 and 2026-03-02", "version 9: fresh",
                 "Real images that entered a training step"):  # fmt: skip
        assert text in page.text


def test_ids_are_unique_and_every_reference_has_one(page):
    ids = page.values("id")
    assert not [name for name, n in Counter(ids).items() if n > 1]
    links = [value for value in page.values("href", "xlink:href") if value.startswith("#")]
    inside = re.findall(r"url\(#([^)]+)\)", page.source)
    assert links
    assert inside
    assert {link.removeprefix("#") for link in links} | set(inside) <= set(ids)


def test_it_fetches_nothing(page):
    assert all(value.startswith("data:") for value in page.values("src"))
    assert all(value.startswith(("data:", "#")) for value in page.values("href", "xlink:href"))
    assert not re.search(r"@import|url\((?!#)|//", re.sub("data:[^\"']*", "", page.source).replace("// ", ""))
    assert {tag for tag, _ in page.elements}.isdisjoint({"iframe", "object", "embed", "base", "form"})


def test_labels_are_escaped(page):
    assert "<b>&amp;" not in page.source
    assert "&lt;b&gt;&amp;amp;" in page.source


def test_equal_stores_give_equal_pages(few_figures, tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "good", 0, 30)
    with_facts(store)
    assert report(store, tmp_path / "one.html").read_bytes() == report(store, tmp_path / "two.html").read_bytes()


def test_one_scenario_and_one_seed_make_no_tests(few_figures, tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "naive", 0, 50, reference="lower")
    write(store, "good", 0, 30)
    page = Page(report(with_facts(store)).read_text())
    assert "no intervals and no tests" in page.text
    assert "Across scenarios" not in page.text
    assert "No cell failed" in page.text


def test_one_method_alone_has_a_report(few_figures, tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "good", 0, 30)
    assert "no pairs" in Page(report(with_facts(store)).read_text()).text


def test_why_there_is_no_table_across_scenarios(few_figures, tmp_path):
    store = Store.create(tmp_path / "store")
    for scenario in ("split-x", "split-y"):
        write(store, "good", 0, 30, scenario=scenario)
    text = Page(report(with_facts(store)).read_text()).text
    assert "There is no table across scenarios: " in text
    assert "lower reference" in text
    assert "Critical difference: a critical-difference diagram takes" in text


def test_a_store_without_results_or_a_file_that_cant_be_written_is_bad_input(store, tmp_path):
    empty = Store.create(tmp_path / "empty")
    with pytest.raises(InputError, match="no finished cell"):
        report(empty)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"can't be written"):
        report(store, tmp_path / "file" / "report.html")
    with pytest.raises(InputError, match="is a folder"):
        report(store, tmp_path)


def test_the_command_prints_the_path(few_figures, tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "good", 0, 30)
    done = CliRunner().invoke(cli, ["report", str(with_facts(store).path)], catch_exceptions=False)
    assert done.output == f"{store.path / 'report.html'}\n"
    assert (store.path / "report.html").exists()


# In a browser


class Tab:
    """A page of a browser, and what went wrong in it."""

    def __init__(self, context: Any, file: Path) -> None:
        self.wrong: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._requested(request.url, file))
        self.page.goto(file.as_uri())

    def _requested(self, url: str, file: Path) -> None:
        if url.partition("#")[0] != file.as_uri() and not url.startswith("data:"):
            self.wrong.append(f"requested: {url}")

    def column(self, title: str) -> Any:
        return self.page.locator("table.board").first.locator("thead th").filter(has_text=re.compile(title))

    def rows(self) -> list[str]:
        labels = self.page.locator("table.board").first.locator("tbody th")
        return [str(label.get_attribute("data-value")) for label in labels.all()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium on this machine: .ci/run installs it")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed: it is in the extra dev")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any, file: Path) -> Iterator[Tab]:
    context = browser.new_context()
    yield Tab(context, file)
    context.close()


def test_it_opens_without_errors_or_requests(tab):
    tab.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    tab.page.wait_for_load_state("networkidle")
    assert tab.page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert not tab.wrong


def test_a_header_sorts_between_the_references(tab):
    first, *middle, last = tab.rows()[:-4]
    custom = tab.rows()[-4:]
    assert (first, last) == ("batch", "naive")
    assert custom == ["fresh", "single:codes=1", "ewc:threshold=3", EVIL]
    column = tab.column("negative")
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "ascending"
    assert tab.rows() == [first, *middle, last, *custom]  # as it was: by rank
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "descending"
    assert tab.rows() == [first, *middle[::-1], last, *custom[::-1]]
    assert tab.page.locator("table.board").first.locator("[aria-sort]").count() == 1


def shown_rows(tab: Tab) -> list[str]:
    labels = tab.page.locator("table.board").first.locator("tbody th:visible")
    return [str(label.get_attribute("data-value")) for label in labels.all()]


def test_methods_are_filtered_between_the_references(tab):
    every = shown_rows(tab)
    box = tab.page.locator(".tools input[type=search]").first
    box.fill("GOOD, ewc")
    assert shown_rows(tab) == ["batch", "good", "naive", "ewc:threshold=3"]
    assert "2 of 6 methods" in tab.page.locator(".tools").first.inner_text()
    box.fill("nothing is called so")
    assert shown_rows(tab) == ["batch", "naive"]
    box.fill("")
    assert shown_rows(tab) == every


def test_columns_are_chosen(tab):
    tools = tab.page.locator(".tools").first
    tools.get_by_text("Columns").click()
    assert "method" not in tools.locator("label").all_inner_texts()
    before = tab.page.locator("table.board").first.locator("th:visible, td:visible").count()
    choice = tools.get_by_label("negative ELBO", exact=True)
    choice.uncheck()
    assert not tab.column("negative").is_visible()
    rows = len(tab.rows()) + 1
    assert tab.page.locator("table.board").first.locator("th:visible, td:visible").count() == before - rows
    choice.check()
    assert tab.column("negative").is_visible()


def test_a_header_stays_when_its_table_is_scrolled(browser, file):
    tab = Tab(browser.new_context(viewport={"width": 1300, "height": 200}), file)
    box, head = tab.page.locator(".box.tall").first, tab.column("^method")
    head.scroll_into_view_if_needed()
    before = head.bounding_box()["y"] - box.bounding_box()["y"]
    box.evaluate("box => box.scrollTo(0, box.scrollHeight)")
    assert box.evaluate("box => box.scrollTop") > 20
    assert head.bounding_box()["y"] - box.bounding_box()["y"] == pytest.approx(before, abs=2)
    tab.page.context.close()


def test_curves_say_their_method_and_value(tab):
    svg = tab.page.locator("svg:has([data-points])").first
    svg.scroll_into_view_if_needed()
    curve = svg.locator("[data-points]").nth(1)
    x, y = curve.evaluate(
        "curve => { const [x, y] = curve.dataset.points.split(';')[1].split(' ').map(Number);"
        " const at = new DOMPoint(x, y).matrixTransform(curve.closest('svg').getScreenCTM()); return [at.x, at.y]; }"
    )
    drawn = curve.evaluate("curve => [...curve.querySelectorAll('use')].map((one) => one.getBoundingClientRect())"
                           ".map((box) => [box.x + box.width / 2, box.y + box.height / 2])")  # fmt: skip
    assert min(abs(x - left) + abs(y - top) for left, top in drawn) < 2  # where the picture has its marker
    tab.page.mouse.move(x, y)
    tip = tab.page.locator(".tip")
    assert re.fullmatch(r"better: 3\d(\.\d)? ± \d(\.\d)?, after interval 1", tip.inner_text())
    assert curve.evaluate("curve => curve.classList.contains('near')")
    tab.page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_contents_are_folded_in_a_narrow_window(browser, file):
    tab = Tab(browser.new_context(viewport={"width": 500, "height": 700}), file)
    link = tab.page.locator("nav a[href='#provenance']")
    assert not link.is_visible()
    tab.page.locator("nav summary").click()
    link.click()
    assert not link.is_visible()
    assert 0 <= tab.page.locator("#provenance").bounding_box()["y"] < 200
    tab.page.set_viewport_size({"width": 1500, "height": 700})
    link.wait_for(state="visible")
    tab.page.context.close()


def test_without_javascript_everything_can_be_read(browser, file):
    tab = Tab(browser.new_context(viewport={"width": 500, "height": 700}, java_script_enabled=False), file)
    for text in ("nav a[href='#provenance']", "#figure-1", "table.board >> nth=0"):
        assert tab.page.locator(text).is_visible()
    assert tab.page.locator("svg [data-points] title").first.text_content()
    assert tab.page.locator(".tools").count() == 0
    tab.page.context.close()


def test_missing_values_come_last_both_ways(tab):
    """In the last block one method has several intervals, and so a consistency, and the other hasn't."""
    button = tab.column("consistency").get_by_role("button")
    for _ in range(2):
        button.click()
        assert tab.rows()[-1] == "single:codes=1"


def test_the_keyboard_sorts(tab):
    before = tab.rows()
    button = tab.column("^method").get_by_role("button")
    button.focus()
    tab.page.keyboard.press("Enter")
    assert tab.rows()[1:-5] == sorted(before[1:-5])
    tab.page.keyboard.press("Space")
    assert tab.rows()[1:-5] == sorted(before[1:-5], reverse=True)
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    assert tab.page.locator("[aria-sort]").first.inner_text() != "method"


def test_the_contents_lead_somewhere(tab):
    links = [link.get_attribute("href") for link in tab.page.locator("nav a").all()]
    assert len(links) > 6
    for link in links:
        assert tab.page.locator(f"[id='{link.removeprefix('#')}']").count() == 1


def test_a_link_unfolds_what_it_leads_to(tab):
    folded = tab.page.locator("details figure").first.get_attribute("id")
    assert not tab.page.locator(f"#{folded}").is_visible()
    tab.page.evaluate(f"location.hash = '{folded}'")
    tab.page.locator(f"#{folded}").wait_for(state="visible")


def test_data_can_be_downloaded(tab, tmp_path):
    with tab.page.expect_download() as download:
        tab.page.locator("figcaption a").first.click()
    assert download.value.suggested_filename == "final.csv"
    download.value.save_as(tmp_path / "final.csv")
    assert "method" in (tmp_path / "final.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_never_wider_than_the_window(browser, file, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = Tab(context, file)
    tab.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    context.close()
