"""The catalogue as one file, made from its TOML files: those take a quarter of a second to parse, this one some milliseconds.

One line per provider and model, in the order of their names, so that a change of one file is a change of one line. It says nothing that the
TOML files do not say; a test compares. After editing one of them: `python -m fairlead.catalog`.
"""

from functools import cache
from pathlib import Path

import msgspec

from fairlead.catalog.load import Catalogue, load
from fairlead.catalog.schema import ModelFile, ProviderFile

NAME = "compiled.jsonl"
_BREAK = b""
"""An empty line parts providers from models."""


def text(catalogue: Catalogue) -> bytes:
    """The file of a catalogue."""
    providers = (ProviderFile(provider=facts) for _, facts in sorted(catalogue.providers.items()))
    models = (file for _, file in sorted(catalogue.models.items()))
    lines = [*map(msgspec.json.encode, providers), _BREAK, *map(msgspec.json.encode, models)]
    return b"\n".join(lines) + b"\n"


def read(data: bytes) -> Catalogue:
    """What `text` wrote. Not judged anew.

    Raises:
        msgspec.DecodeError: it is no such file.
    """
    providers, _, models = data.partition(b"\n\n")
    provider = msgspec.json.Decoder(ProviderFile)
    model = msgspec.json.Decoder(ModelFile)
    return Catalogue(
        providers={file.provider.slug: file.provider for file in map(provider.decode, providers.splitlines())},
        models={file.model.id: file for file in map(model.decode, models.splitlines())},
    )


def write(directory: Path) -> None:
    """Judges the TOML files of a folder and writes the compiled file beside them.

    Raises:
        Mistakes: with everything that is wrong in any of the files.
    """
    (directory / NAME).write_bytes(text(load(directory)))


@cache
def shipped() -> Catalogue:
    """The catalogue inside the package. Read once per process."""
    directory = Path(__file__).parent
    path = directory / NAME
    return read(path.read_bytes()) if path.exists() else load(directory)
