"""Pages of running text: letter, two columns, list, small type, and the same as a photograph.
All words are the project's own."""

from __future__ import annotations

import msgspec
import numpy as np
from PIL import Image, ImageFilter

from shared.ocr import Category
from tests.pages.fonts import Face
from tests.pages.paper import A4_200, Page, Sheet, encode

LETTER = (
    (
        "Thank you for the plans of the reading room, which reached us on Monday. We have gone "
        "through all twelve sheets with the builders and find them clear, complete and a pleasure "
        "to work from."
    ),
    (
        "Two points need your decision before the windows can be ordered. The drawings show oak "
        "frames on the north side and painted pine everywhere else; the price we gave you in "
        "February assumed oak throughout. The difference comes to 1,840 euros in your favour if "
        "pine is what you want."
    ),
    (
        "The second point is the floor. Under the old boards we found a layer of dry clay, nearly "
        "20 cm deep, which keeps the cold out better than anything we could put in its place. We "
        "would like to leave it where it is and lay the new boards on battens above it."
    ),
    (
        "If you could let us know by Friday, 7 June, the carpenters can start the week after and "
        "the room will be ready when the schools open again in September."
    ),
)

LEFT = (
    (
        "Every evening at nine the keeper of the harbour light climbed ninety steps with a can of "
        "oil in each hand. The lamp burned four litres in a summer night and eleven in winter, and "
        "nobody had ever counted the climbs."
    ),
    (
        "When the oil was replaced by gas the cans went into the cellar, where they still stand. "
        "The steps remained, and so did the keeper, who now had time to write down the weather "
        "three times a day."
    ),
    (
        "His notebooks fill two shelves. They speak of wind, of ships that passed without "
        "answering, and once of a whale that stayed in the bay for a week."
    ),
)
RIGHT = (
    (
        "Historians found the notebooks useful for a reason their author could not have guessed. "
        "Because he noted the hour of every entry, the arrival of each fog can be followed along "
        "the coast from station to station."
    ),
    (
        "The fogs of that time came later in the year than they do today and lasted longer. A map "
        "drawn from forty such diaries shows them moving north like a slow tide, a few kilometres "
        "every season."
    ),
    (
        "The light itself was switched off in 1988. On clear nights the tower is now a dark finger "
        "against the sea, and the ninety steps are open to visitors on Sundays."
    ),
)

ITEMS = (
    "Water the two lemon trees every other morning",
    "Leave the back gate open for the milk van",
    "Feed the cat once a day, never twice",
    "Read the electricity meter on the first",
    "Send letters on to the address in Porto",
)
STEPS = (
    "Turn the main valve clockwise until it stops",
    "Open the lowest tap and wait for silence",
    "Write the date on the card in the cellar",
)

SMALL = (
    (
        "The hirer returns the boat with a full tank, dry and swept, before six in the evening of "
        "the last day. A boat that comes back later is charged for one more day, unless the "
        "harbour master has closed the bar because of the weather. Oars, anchor and bucket are "
        "counted by both sides; what is missing is replaced at the price of the day."
    ),
    (
        "Dogs are welcome on board. Fires are not, and neither are nets, lines or traps, since the "
        "lake is a nursery for trout from March until the end of June. Whoever finds a ring on the "
        "leg of a bird is asked to write down its number and to send it to the station at the mill."
    ),
    (
        "The deposit of 150 is paid in cash and handed back in full when the boat is tied up "
        "again. Any quarrel is settled by the court of the town in which the boat is registered."
    ),
)


def letter() -> Page:
    """One column: letterhead, address, date, subject, four paragraphs, a signature."""
    sheet = Sheet()
    x, width, size = 150, 940, 25
    sheet.title("Harlow & Finch Joinery", (x, 120), Face.SERIF_BOLD, 44, top=True)
    sheet.paragraph("14 Mill Lane, Ashby", (x, 196), width, Face.SERIF, size)
    y = sheet.paragraph("28 May 2024", (x, 290), width, Face.SERIF, size)
    y = sheet.paragraph("Dear Mrs Okafor,", (x, y + 30), width, Face.SERIF, size)
    for text in LETTER:
        y = sheet.paragraph(text, (x, y), width, Face.SERIF, size)
    y = sheet.paragraph("With kind regards,", (x, y + 10), width, Face.SERIF, size)
    sheet.paragraph("Thomas Finch", (x, y + 60), width, Face.SERIF, size)
    return sheet.page("letter")


def columns() -> Page:
    """A heading over two columns, each with a heading of its own."""
    sheet = Sheet()
    left, right, width, size = 110, 650, 480, 24
    sheet.title(
        "The Lighthouse Keeper and His Notebooks", (left, 120), Face.SERIF_BOLD, 48, top=True
    )
    for x, head, texts in ((left, "Ninety steps", LEFT), (right, "What the fog knew", RIGHT)):
        y = sheet.title(head, (x, 240), Face.SERIF_BOLD, 32)
        for text in texts:
            y = sheet.paragraph(text, (x, y), width, Face.SERIF, size)
    return sheet.page("columns")


def listing() -> Page:
    """Bullets and numbers under two headings."""
    sheet = Sheet()
    y = sheet.title("While we are away", (150, 130), Face.SANS_BOLD, 44, top=True)
    y = sheet.paragraph(
        "Five small things keep the house happy, and three steps put it to sleep.",
        (150, y),
        940,
        Face.SANS,
        26,
    )
    for text in ITEMS:
        sheet.add(Category.LIST_ITEM, sheet.line(f"• {text}", (180, y), Face.SANS, 26))
        y += 52
    y = sheet.title("Before the frost", (150, y + 30), Face.SANS_BOLD, 34)
    for number, text in enumerate(STEPS, 1):
        sheet.add(Category.LIST_ITEM, sheet.line(f"{number}. {text}", (180, y), Face.SANS, 26))
        y += 52
    return sheet.page("listing")


def small() -> Page:
    """Conditions in six-point type at 200 dpi: 17 pixels, the smallest people print."""
    sheet = Sheet(A4_200)
    y = sheet.title("Conditions of Hire", (180, 180), Face.SANS_BOLD, 40, top=True)
    for text in SMALL:
        y = sheet.paragraph(text, (180, y), 1280, Face.SANS, 17)
    return sheet.page("small")


def blank() -> Page:
    """Nothing at all, as the back of a scanned sheet."""
    return Sheet().page("blank")


def photograph() -> Page:
    """The letter as a telephone sees it: leaning by a degree, soft, grainy, lit from one side."""
    page = letter()
    leaning = page.image.rotate(
        -1.0, resample=Image.Resampling.BICUBIC, expand=False, fillcolor=(255, 255, 255)
    ).filter(ImageFilter.GaussianBlur(0.7))
    light = np.linspace(1.0, 0.82, leaning.width)[np.newaxis, :, np.newaxis]
    grain = np.random.default_rng(7).normal(0.0, 6.0, (leaning.height, leaning.width, 1))
    pixels = np.clip(np.asarray(leaning, dtype=np.float64) * light + grain, 0, 255)
    return msgspec.structs.replace(
        page, name="photograph", png=encode(Image.fromarray(pixels.astype(np.uint8)))
    )
