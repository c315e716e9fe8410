"""Pages in other scripts: Korean, Russian, Chinese, and Russian mixed with English. All sentences
are the project's own."""

from __future__ import annotations

from tests.pages.fonts import Face
from tests.pages.paper import Page, Sheet

KOREAN = (
    (
        "새 도서관은 오는 구월에 문을 엽니다. 일층에는 어린이 열람실이 있고 "
        "이층에는 조용히 공부할 수 있는 방이 있습니다."
    ),
    (
        "책을 빌리려면 먼저 회원 카드를 만들어야 합니다. "
        "카드는 무료이며 신청한 날에 바로 받을 수 있습니다."
    ),
    (
        "한 사람이 한 번에 다섯 권까지 빌릴 수 있고 두 주일 안에 "
        "돌려주어야 합니다. 늦으면 그 날만큼 다시 빌릴 수 없습니다."
    ),
)

RUSSIAN = (
    (
        "Новая библиотека откроется первого сентября. На первом этаже находится детский зал, на "
        "втором этаже есть тихая комната для занятий."
    ),
    (
        "Чтобы взять книгу, нужно сначала получить карту читателя. Карта выдаётся бесплатно в день "
        "обращения, для этого достаточно паспорта."
    ),
    (
        "Один читатель может взять до пяти книг на две недели. Если книга нужна дольше, срок можно "
        "продлить по телефону или на нашем сайте."
    ),
)

CHINESE = (
    "新图书馆将于九月一日开放。一楼是儿童阅览室，二楼有安静的自习室，三楼收藏地方志和旧报纸。",
    "借书之前需要先办理读者证。办证免费，当天就可以领取，只要带上身份证件和一张照片。",
    "每位读者一次最多可以借五本书，期限为两个星期。如果还没有读完，可以打电话或者在网上续借一次。",
)

MIXED = (
    (
        "Поезд отправляется с третьего пути в девять часов утра. Билеты продаются в кассе и в "
        "автоматах у входа."
    ),
    (
        "The train leaves from platform three at nine in the morning. Tickets are sold at the "
        "counter and from the machines near the entrance."
    ),
    (
        "Собак можно брать с собой, если они не мешают другим пассажирам. Велосипеды перевозятся в "
        "последнем вагоне."
    ),
    (
        "Dogs may travel with you as long as they do not disturb others. Bicycles travel in the "
        "last carriage."
    ),
)


def korean() -> Page:
    return notice("korean", "도서관 이용 안내", KOREAN, Face.KOREAN, Face.KOREAN_BOLD)


def russian() -> Page:
    return notice("russian", "Правила библиотеки", RUSSIAN, Face.DEJAVU, Face.DEJAVU_BOLD)


def chinese() -> Page:
    return notice("chinese", "图书馆使用须知", CHINESE, Face.CHINESE, Face.CHINESE_BOLD)


def mixed() -> Page:
    return notice("mixed", "Северная линия", MIXED, Face.DEJAVU, Face.DEJAVU_BOLD)


def notice(name: str, head: str, texts: tuple[str, ...], face: Face, bold: Face) -> Page:
    """A heading and its paragraphs in one column."""
    sheet = Sheet()
    y = sheet.title(head, (150, 140), bold, 44, top=True)
    for text in texts:
        y = sheet.paragraph(text, (150, y), 940, face, 27)
    return sheet.page(name)
