"""Fits the weights of the estimator of tokens to texts, and writes `rust/tokens/src/estimate/weights.rs`.

    python benches/micro/calibrate_tokens.py FOLDER

FOLDER holds a folder per kind of text (`rust`, `json`, `base64`, …) with UTF-8 files. Every kind weighs the same, however many files it
has, unless its name says otherwise: `english@8` weighs eight times.

The estimate is linear: a weight for each class of an ASCII character after each class of the character before it, and for each script a
weight for the first character of a run and for each further one. What is made least is the square of the relative error against
`o200k_base`, counted exactly, over pieces of 3,000 characters; no weight is below its floor, so that no text is ever estimated at nothing.

The weights in the tree were fitted to 25 MB in 72 kinds: manual pages and message catalogues in 42 languages, packages' documentation and
sources in eight languages, JSON, logs, tables, base64, hexadecimal and random characters; English prose at 10, Markdown at 8, sources and
JSON at 3 to 6, larger languages, logs, numbers and lock files at 2, bare rules and spaces at 0.3.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fairlead import tokens

PIECE = 3000
MOST_PIECES_OF_A_KIND = 400
UNITS = 4096  # of a token, in the table
RIDGE, PRIOR_OF_PAIRS, PRIOR_OF_SCRIPTS, MOST = 1e-4, 0.3, 2.0, 4.0
# No weight is less, so that an estimate is never a small part of what is: of a space after the same, of a sign that stands in rows after
# itself, of any other class after itself, of a change of class, of a change where a token begins as a rule, of the first and of a further
# character of a script.
SPACE, ROW, SAME, CHANGE, START, FIRST, FURTHER = 1 / 256, 1 / 64, 1 / 8, 1 / 16, 1 / 4, 1 / 2, 1 / 5
ROWS = "_-./=*#"

LETTERS = ["e", "aio", "u", "tsn", "rl", "hdc", "mpgfb", "ywvkjxqz", "AEIOU", "BCDFGHLMNPRST", "JKQVWXYZ"]
SIGNS = ["_", "-", ".", "/", ",", ":", ";", "'", '"', "=", "*", "#", "([{<", ")]}>", "!?$%&@\\^`|~+"]
CONTROL = "".join(chr(code) for code in [*range(32), 127] if chr(code) not in "\t\n\r")
CLASSES = [CONTROL, " ", "\n\r", "\t", *LETTERS, "0123456789", *SIGNS]
# Where each script begins, to the next 64 code points, and the group it is in.
SCRIPTS = [
    *[(0x80, "Symbols"), (0xC0, "Latin"), (0x240, "Latin"), (0x380, "Greek"), (0x400, "Cyrillic"), (0x540, "Eastern"), (0x580, "Semitic")],
    *[(0x600, "Semitic"), (0x780, "Eastern"), (0x900, "Indic"), (0x980, "Indic"), (0xA00, "Indic"), (0xB00, "Indic"), (0xC00, "Indic")],
    *[(0xD00, "Indic"), (0xE00, "Eastern"), (0xF00, "Eastern"), (0x1080, "Eastern"), (0x1100, "Eastern"), (0x1780, "Eastern")],
    *[
        (0x1800, "Eastern"),
        (0x1E00, "Latin"),
        (0x1F00, "Greek"),
        (0x2000, "Symbols"),
        (0x2080, "Symbols"),
        (0x3000, "Han"),
        (0x3040, "Kana"),
    ],
    *[(0x3100, "Han"), (0x4E00, "Han"), (0xA000, "Eastern"), (0xAC00, "Hangul"), (0xD7C0, "Symbols"), (0xF900, "Han"), (0xFAC0, "Symbols")],
    *[(0xFF00, "Han"), (0x10000, "Symbols"), (0x1F000, "Emoji"), (0x20000, "Symbols")],
]

ASCII = np.zeros(128, int)
for number, members in enumerate(CLASSES):
    for character in members:
        ASCII[ord(character)] = number
BEYOND = len(CLASSES)
PAIRS = (BEYOND + 1) * BEYOND
SCRIPT_STARTS = np.array([start for start, _ in SCRIPTS])


def features(text: str) -> np.ndarray:
    """How often each class follows each (the last row: a character beyond ASCII), then the first and the further ones of each script."""
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    ascii = points < 128
    classes = np.where(ascii, ASCII[np.minimum(points, 127)], BEYOND + np.searchsorted(SCRIPT_STARTS, points, side="right") - 1)
    # A text begins as a line does.
    before = np.concatenate([[ASCII[10]], classes[:-1]])
    further = ~ascii & (before == classes)
    return np.concatenate(
        [
            np.bincount((np.minimum(before, BEYOND) * BEYOND + classes)[ascii], minlength=PAIRS),
            np.bincount(classes[~ascii & ~further] - BEYOND, minlength=len(SCRIPTS)),
            np.bincount(classes[further] - BEYOND, minlength=len(SCRIPTS)),
        ]
    )


def pieces(folder: Path) -> Iterator[tuple[str, str]]:
    """(kind, text) of at most so many pieces of each kind, drawn evenly with a fixed seed."""
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        texts = [path.read_text(errors="replace") for path in sorted(kind.iterdir())]
        cut = [text[at : at + PIECE] for text in texts for at in range(0, len(text), PIECE)]
        random.Random(1).shuffle(cut)
        yield from ((kind.name, text) for text in cut[:MOST_PIECES_OF_A_KIND] if len(text) > 200)


def floors() -> np.ndarray:
    capital = LETTERS[-3:]
    kind = [
        "capital"
        if members in capital
        else "letter"
        if members in LETTERS
        else "digit"
        if members[:1] == "0"
        else "space"
        if members.isspace()
        else "sign"
        for members in CLASSES
    ]
    floor = np.full((BEYOND + 1, BEYOND), CHANGE)
    for before in range(BEYOND):
        for after in range(BEYOND):
            if before == after and kind[after] not in ("letter", "capital"):
                floor[before, after] = SPACE if CLASSES[after] in " \t" else ROW if CLASSES[after] in ROWS + "\n\r" else SAME
            elif kind[before] != kind[after] and kind[after] != "space" and (kind[before], kind[after]) != ("capital", "letter"):
                floor[before, after] = START
    return np.concatenate([floor.ravel(), np.repeat([FIRST, FURTHER], len(SCRIPTS))])


def fit(counts: np.ndarray, exact: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Weights by coordinate descent on the normal equations, between their floors and the bytes of a character."""
    rows = counts / exact[:, None] * share[:, None]
    weights, floor = np.repeat([PRIOR_OF_PAIRS, PRIOR_OF_SCRIPTS], [PAIRS, 2 * len(SCRIPTS)]), floors()
    squares = rows.T @ rows + RIDGE * np.eye(len(weights))
    slope = squares @ weights - (rows.T @ share + RIDGE * weights)
    for _ in range(500):
        moved = 0.0
        for index in range(len(weights)):
            step = min(MOST, max(floor[index], weights[index] - slope[index] / squares[index, index])) - weights[index]
            if step:
                weights[index] += step
                slope += step * squares[:, index]
                moved = max(moved, abs(step))
        if moved < 1e-5:
            break
    return weights


def rust(weights: np.ndarray) -> str:
    units = np.rint(weights * UNITS).astype(int)
    rows = units[:PAIRS].reshape(BEYOND + 1, BEYOND)
    scripts = [
        f"    ({start:#x}, Group::{group}, {units[PAIRS + number]}, {units[PAIRS + len(SCRIPTS) + number]}),"
        for number, (start, group) in enumerate(SCRIPTS)
    ]
    classes = ", ".join('"' + members.replace("\\", "\\\\").replace('"', '\\"') + '"' for members in [*LETTERS, "0123456789", *SIGNS])
    table = "\n".join("    [" + ", ".join(map(str, row)) + "]," for row in rows)
    return f"""//! Made by `benches/micro/calibrate_tokens.py`: what characters weigh, in {UNITS}ths of a token of `o200k_base`.

use super::Group;

/// The characters of each class. Control characters are the first, whatever else is not listed.
pub(super) const CLASSES: [&str; {BEYOND}] = ["", " ", "\\n\\r", "\\t", {classes}];

/// Where each script begins, its group, and the weights of a first and of each further character of a run.
pub(super) const SCRIPTS: [(u32, Group, u16, u16); {len(SCRIPTS)}] = [
{chr(10).join(scripts)}
];

/// The weight of a character of each class (columns) after each class (rows; the last: after a character beyond ASCII).
#[rustfmt::skip]
pub(super) const PAIRS: [[u16; {BEYOND}]; {BEYOND + 1}] = [
{table}
];
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    drawn = [*pieces(parser.parse_args().folder)]
    kinds = np.array([kind for kind, _ in drawn])
    exact = np.array([tokens.count(text, model="o200k_base") for _, text in drawn], float)
    counts = np.stack([features(text) for _, text in drawn]).astype(float)
    share = np.array([(float(kind.partition("@")[2] or 1) / (kinds == kind).sum()) ** 0.5 for kind in kinds])
    weights = fit(counts, exact, share)
    target = Path(__file__).parents[2] / "rust/tokens/src/estimate/weights.rs"
    target.write_text(rust(weights))
    error = counts @ weights / exact - 1
    for kind in np.unique(kinds):
        of_kind = error[kinds == kind]
        sys.stdout.write(f"{kind:20} {100 * of_kind.mean():+6.1f} %  mean absolute {100 * np.abs(of_kind).mean():5.1f} %\n")


if __name__ == "__main__":
    main()
