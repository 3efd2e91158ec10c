"""Texts of every kind that the estimator of tokens is judged by.

Files of this tree, stories written for it in thirteen languages, and data made with a fixed seed. None of them was used to fit its weights
(`calibrate_tokens.py` says what was).
"""

import base64
import gzip
import json
import random
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = Path(__file__).parent / "texts"
PIECE = 2000
"""Characters of a piece: errors are of pieces, so that they do not average out over a long text."""


def kinds() -> dict[str, list[str]]:
    """The pieces of each kind."""
    seeded = random.Random(20_26)
    made = {
        "English prose": _stories("english"),
        "Markdown": _files("docs/*.md", "*.md"),
        "Rust": _files("rust/gateway/src/**/*.rs"),
        "Python": _files("python/fairlead/**/*.py"),
        "JSON": _files("tests/vectors/json/*.json", "tests/vectors/sse/*.json"),
        "JSON, compact": _compact("tests/vectors/json/*.json", "tests/vectors/sse/*.json"),
        "TOML, lock files": _files("Cargo.lock", "**/Cargo.toml"),
        "German, French, Spanish, Portuguese": _stories("german", "french", "spanish", "portuguese"),
        "Polish": _stories("polish"),
        "Cyrillic": _stories("russian"),
        "Chinese": _stories("chinese"),
        "Japanese": _stories("japanese"),
        "Korean": _stories("korean"),
        "Arabic": _stories("arabic"),
        "Hindi": _stories("hindi"),
        "Thai": _stories("thai"),
        "base64": _pieces(
            [base64.b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode() for path in _paths("rust/journal/src/*.rs")]
        ),
        "hexadecimal": _pieces([seeded.randbytes(8000).hex()]),
        "UUIDs": _pieces(["\n".join(str(uuid.UUID(int=seeded.getrandbits(128))) for _ in range(300))]),
        "numbers, CSV": _pieces([_table(seeded)]),
        "log lines": _pieces([_log(seeded)]),
        "white space": _pieces([_columns(seeded)]),
        "emoji in prose": _pieces([_with_emoji(text, seeded) for text in _stories("english", "german")]),
        "random letters": _pieces([" ".join(_word(seeded) for _ in range(1500))]),
    }
    assert all(made.values()), [kind for kind, pieces in made.items() if not pieces]
    return made


def _paths(*patterns: str) -> list[Path]:
    return [
        path for pattern in patterns for path in sorted(ROOT.glob(pattern)) if not {"target", ".venv"} & {*path.relative_to(ROOT).parts}
    ]


def _files(*patterns: str) -> list[str]:
    return _pieces([path.read_text() for path in _paths(*patterns)])


def _compact(*patterns: str) -> list[str]:
    return _pieces([json.dumps(json.loads(path.read_bytes()), separators=(",", ":"), ensure_ascii=False) for path in _paths(*patterns)])


def _stories(*languages: str) -> list[str]:
    return _pieces([(TEXTS / f"{language}.txt").read_text() for language in languages])


def _pieces(texts: list[str]) -> list[str]:
    """Whole pieces, and what is left of a text if it is not too short to say anything."""
    cut = [text[at : at + PIECE] for text in texts for at in range(0, len(text), PIECE)]
    return [piece for piece in cut if len(piece) >= 300]


def _table(seeded: random.Random) -> str:
    def row() -> str:
        date = f"2026-{seeded.randint(1, 12):02}-{seeded.randint(1, 28):02}"
        return f"{seeded.randrange(10 ** seeded.randint(1, 8))},{seeded.uniform(-999, 999):.3f},{date}"

    return "\n".join(row() for _ in range(300))


def _log(seeded: random.Random) -> str:
    def line() -> str:
        moment = f"2026-11-{seeded.randint(1, 28):02}T{seeded.randint(0, 23):02}:{seeded.randint(0, 59):02}:07.{seeded.randrange(1000):03}Z"
        generation = f"gen-{seeded.getrandbits(64):016x}"
        level = seeded.choice(["INFO", "WARN"])
        return f"{moment} {level} gateway: generation {generation} settled in {seeded.randint(2, 9000)} ms, status 200"

    return "\n".join(line() for _ in range(100))


def _columns(seeded: random.Random) -> str:
    """Text set in columns, with blank lines and deep indents."""
    words = ["item", "total", "north", "7", "1,024", "—", "unit price"]
    ends = ["", "\n", "\t\t", "x"]
    rows = [(seeded.randint(0, 48), seeded.choice(words), seeded.randint(2, 40), seeded.choice(ends)) for _ in range(200)]
    return "\n".join(f"{' ' * indent}{word}{' ' * gap}{end}" for indent, word, gap, end in rows)


def _with_emoji(text: str, seeded: random.Random) -> str:
    emoji = "😀😂🥰😎🤔🙏👍🎉🔥✨🚀💡✅❌📌🐛🌧🍰🏡🇫🇷👩‍💻"
    return " ".join(
        word + (" " + seeded.choice(emoji) * seeded.randint(1, 2) if seeded.random() < 0.15 else "") for word in text.split(" ")
    )


def _word(seeded: random.Random) -> str:
    return "".join(seeded.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(seeded.randint(2, 12)))
