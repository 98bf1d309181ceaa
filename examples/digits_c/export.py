"""Writes digits_data.h: scikit-learn's handwritten digits as C, in the order in which examples/digits.py uses them.

    python examples/digits_c/export.py

A row is 64 letters, 'A' for grey level 0 to 'Q' for 16, and the label as a digit.  The result is committed, so that the C
program can be built without Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from digits import raw_data  # noqa: E402


def header() -> str:
    images, labels = raw_data()
    letters = ["".join(chr(65 + v) for v in image) for image in images]
    rows = "".join(f'    "{row}{label}",\n' for row, label in zip(letters, labels))
    return (
        "/* Written by export.py from scikit-learn's load_digits: a test set of E. Alpaydin and C. Kaynak, Optical\n"
        " * Recognition of Handwritten Digits, UCI Machine Learning Repository (1998), CC BY 4.0.\n"
        " * Each row: 8x8 grey levels as letters, 'A' = 0 to 'Q' = 16, and the digit that was written. */\n"
        f"#define DIGITS_COUNT {len(images)}\n\n"
        "static const char digits_data[DIGITS_COUNT][66] = {\n" + rows + "};\n"
    )


if __name__ == "__main__":
    path = HERE / "digits_data.h"
    path.write_text(header(), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size} bytes")
