"""The native module is what the control plane takes it for."""

import inspect
from pathlib import Path

import pytest
from control_rig import generation
from fairlead import _native, runtime
from fairlead.control import secret
from fairlead.control.db import queries


def test_it_belongs_to_this_package() -> None:
    runtime.check_native(_native)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("__version__", "0.0.1", "the native module is version 0.0.1"),
        ("GENERATION_COLUMNS", ("id",), "GENERATION_COLUMNS are not the database's"),
        ("ATTEMPT_COLUMNS", ("n",), "ATTEMPT_COLUMNS are not the database's"),
        ("LOSS_COLUMNS", ("n",), "LOSS_COLUMNS are not the database's"),
    ],
)
def test_another_one_is_refused(name: str, value: object, message: str) -> None:
    class Other:
        __version__ = _native.__version__
        GENERATION_COLUMNS = queries.GENERATION_COLUMNS
        ATTEMPT_COLUMNS = queries.ATTEMPT_COLUMNS
        LOSS_COLUMNS = queries.LOSS_COLUMNS

    setattr(Other, name, value)
    with pytest.raises(runtime.StartError, match=message):
        runtime.check_native(Other)  # type: ignore[arg-type]


def test_it_has_what_the_process_calls() -> None:
    for protocol, native in ((runtime.RunningEngine, _native.Engine), (runtime.Simulator, _native.Simulator)):
        wanted = {name for name, _ in inspect.getmembers(protocol) if not name.startswith("_")}
        assert wanted <= set(dir(native)), wanted - set(dir(native))


def test_both_sides_hash_keys_alike() -> None:
    for key in ("sk-fl-v1-" + "0" * 64, "", "ключ"):
        assert _native.hash_key(bytes(range(32)), key) == secret.stored_hash(bytes(range(32)), key)


def test_a_journal_without_records_is_read_to_its_end(tmp_path: Path) -> None:
    batch = _native.JournalReader(str(tmp_path), []).read(500)
    assert (batch.generations, batch.attempts, batch.losses, batch.caught_up, batch.problems) == ([], [], [], True, [])
    assert len(generation()) == len(_native.GENERATION_COLUMNS)


GOLDEN = Path(__file__).parents[2] / "rust" / "journal" / "tests" / "golden"
SEGMENT_BYTES = 128 << 10


@pytest.mark.parametrize(("version", "upstream_dialect", "more", "losses"), [(1, "", 0, 0), (2, "openai_responses", 7, 3)])
def test_a_segment_becomes_rows(tmp_path: Path, version: int, upstream_dialect: str, more: int, losses: int) -> None:
    segment = (GOLDEN / f"settle_version_{version}.segment").read_bytes()
    (tmp_path / "0000000001-00000-00000-0000000000.segment").write_bytes(segment.ljust(SEGMENT_BYTES, b"\0"))
    batch = _native.JournalReader(str(tmp_path), []).read(500)
    assert (batch.caught_up, batch.problems, len(batch.generations), len(batch.attempts)) == (True, [], 2, 2)
    plain, translated = (dict(zip(_native.GENERATION_COLUMNS, row, strict=True)) for row in batch.generations)
    assert (plain["dialect"], plain["upstream_dialect"], plain["translation_losses_more"]) == ("anthropic_messages", "", 0)
    assert (translated["upstream_dialect"], translated["translation_losses_more"]) == (upstream_dialect, more)
    assert [dict(zip(_native.LOSS_COLUMNS, row, strict=True)) for row in batch.losses] == [
        {
            "generation_id": translated["id"],
            "n": n,
            "path": f"messages[{n}].content[0].cache_control",
            "severity": ("hint", "changed", "dropped")[n],
            "reason": "the target's dialect has no place for it",
        }
        for n in range(losses)
    ]
