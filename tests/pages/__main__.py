"""Write the drawn pages into a folder, to look at them. It overwrites files of the same name."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.pages import DRAWN, FontMissing, page


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in DRAWN:
        try:
            (folder / f"{name}.png").write_bytes(page(name).png)
        except FontMissing as error:
            print(f"{name}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/pages"))
