"""A model server that is not ours: llama.cpp, from the package registry, with a model of random weights made here.

It speaks OpenAI's chat completions and Anthropic's messages through an HTTP server, JSON writer and token counts that nobody of us
wrote. What the model says is nonsense, but at temperature 0 always the same nonsense.
"""

import array
import random
import select
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.house import START_SECONDS, clean_environment

REQUIREMENTS = Path(__file__).with_name("foreign.txt")
SERVER = Path(__file__).with_name("foreign_server.py")
CONTEXT_TOKENS = 2048


def installed() -> Path:
    """The folder with the package, installed on first use beside the virtual environment's own packages."""
    name = next(line for line in REQUIREMENTS.read_text().splitlines() if "==" in line).split()[0]
    folder = Path(sys.prefix) / "foreign" / name
    if folder.exists():
        return folder
    folder.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    done = subprocess.run([*pip, "--target", str(fresh), "-r", str(REQUIREMENTS)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(fresh)
        raise RuntimeError(f"{name} cannot be installed:\n{done.stderr}")
    fresh.rename(folder)
    return folder


class ModelServer:
    """llama.cpp's server as a process, on a free port of the loopback."""

    def __init__(self, api_key: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fairlead-foreign-"))
        self._api_key = api_key
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def __enter__(self) -> "ModelServer":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it and removes what it left."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        model = self.folder / "random.gguf"
        write_model(model)
        environment = clean_environment(self.folder, {"PYTHONPATH": str(installed()), "API_KEY": self._api_key})
        log = self.folder / "log"
        with log.open("w") as errors:
            command = [sys.executable, str(SERVER), str(model), str(CONTEXT_TOKENS)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=self.folder
            )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        self.address = self._process.stdout.readline().strip() if readable else ""
        assert self.address, f"llama.cpp did not start:\n{log.read_text()}"


# --- a model in llama.cpp's file format (GGUF 3) ----------------------------------------------------------------------

WIDTH, HIDDEN, SEED = 32, 64, 1
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9


def write_model(path: Path) -> None:
    """One layer of a Llama with random weights, whose vocabulary is the printable characters of ASCII."""
    tokens = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), *((f"<0x{byte:02X}>", BYTE) for byte in range(256))]
    tokens += [("\u2581", NORMAL), *((chr(code), NORMAL) for code in range(33, 127))]
    names = [name for name, _ in tokens]
    facts = [
        _text("general.architecture", "llama"),
        _number("llama.context_length", CONTEXT_TOKENS),
        _number("llama.embedding_length", WIDTH),
        _number("llama.block_count", 1),
        _number("llama.feed_forward_length", HIDDEN),
        _number("llama.attention.head_count", 2),
        _number("llama.attention.head_count_kv", 2),
        _fact("llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)),
        _number("llama.rope.dimension_count", WIDTH // 2),
        _number("llama.vocab_size", len(tokens)),
        _text("tokenizer.ggml.model", "llama"),
        _list("tokenizer.ggml.tokens", STRING, len(names), b"".join(map(_string, names))),
        _list("tokenizer.ggml.scores", FLOAT32, len(names), bytes(4 * len(names))),
        _list("tokenizer.ggml.token_type", INT32, len(names), struct.pack(f"<{len(names)}i", *(kind for _, kind in tokens))),
        _number("tokenizer.ggml.bos_token_id", 1),
        _number("tokenizer.ggml.eos_token_id", 2),
        _number("tokenizer.ggml.unknown_token_id", 0),
        _text("tokenizer.chat_template", TEMPLATE),
    ]
    tensors, data = _tensors(len(tokens), sum(kind != NORMAL for _, kind in tokens))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts)) + b"".join(facts) + b"".join(tensors)
    path.write_bytes(head + bytes(-len(head) % 32) + data)


def _tensors(vocabulary: int, silent: int) -> tuple[list[bytes], bytes]:
    """Descriptions and data. The first `silent` tokens are never the likeliest: what is said can be printed."""
    dice = random.Random(SEED)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (WIDTH, vocabulary), "output_norm": (WIDTH,), "output": (WIDTH, vocabulary)}
    shapes |= {"blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
    shapes |= {f"blk.0.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (WIDTH, HIDDEN), "blk.0.ffn_up": (WIDTH, HIDDEN), "blk.0.ffn_down": (HIDDEN, WIDTH)}
    tensors, data = [], bytearray()
    for name, shape in shapes.items():
        described = _string(f"{name}.weight") + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        tensors.append(described + struct.pack("<IQ", 0, len(data)))
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [1.0] * count if name.endswith("norm") else [dice.gauss(0, 0.5) for _ in range(count)]
        if name == "output":
            values[: WIDTH * silent] = [0.0] * (WIDTH * silent)
        data += array.array("f", values).tobytes()
        data += bytes(-len(data) % 32)
    return tensors, bytes(data)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _fact(name: str, kind: int, value: bytes) -> bytes:
    return _string(name) + struct.pack("<I", kind) + value


def _text(name: str, value: str) -> bytes:
    return _fact(name, STRING, _string(value))


def _number(name: str, value: int) -> bytes:
    return _fact(name, UINT32, struct.pack("<I", value))


def _list(name: str, kind: int, count: int, values: bytes) -> bytes:
    return _fact(name, ARRAY, struct.pack("<IQ", kind, count) + values)


if sys.byteorder != "little":
    raise RuntimeError("the model file is written in the machine's own byte order, which must be little-endian")
