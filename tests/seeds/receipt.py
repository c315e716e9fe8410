"""What every example's answer is held against: the words that are really on the receipt."""

from __future__ import annotations

ON_THE_RECEIPT = ("GREEN CORNER SHOP", "8 Orchard Street, Linden", "Goat cheese", "8.45", "31.57")


def says_receipt(text: str) -> None:
    """Fails with the whole answer unless it says what is on the receipt, whatever its shape."""
    flat = " ".join(text.split())
    missing = [words for words in ON_THE_RECEIPT if words not in flat]
    assert not missing, f"{missing} not in: {text}"
