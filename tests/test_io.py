"""The safetensors format beside its own library's, and what a broken file says."""

import json
import struct

import numpy as np
import pytest

import polygrad as pg
from polygrad.io import load_file, save_file


def tensors():
    rng = np.random.default_rng(0)
    return {
        "a": rng.standard_normal((2, 3)).astype("float32"),
        "b.c": rng.standard_normal(4),
        "scalar": np.array(7, dtype="int64"),
        "empty": np.zeros((0, 3), dtype="float32"),
        "mask": np.array([True, False]),
        "bytes": np.arange(5, dtype="uint8"),
    }


def test_round_trip(backend, tmp_path):
    path = tmp_path / "x.safetensors"
    values = tensors()
    save_file({k: pg.tensor(v) for k, v in values.items()}, path, {"note": "ours"})
    found = load_file(path)
    assert list(found) == list(values)
    for name, value in values.items():
        x = found[name]
        assert x.backend == backend.name and x.shape == value.shape and x.dtype.name == str(value.dtype)
        assert np.array_equal(x.numpy(), value)


def test_the_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": pg.tensor([[1.0, 2.0]]), "n": pg.tensor([3])}, path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    assert json.loads(data[8 : 8 + length]) == {
        "w": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        "n": {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]},
    }
    assert data[8 + length :] == struct.pack("<ffq", 1, 2, 3)


def file_of(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "is not a safetensors file"),
        (b"[1]", "is not a safetensors file"),
        ({"x": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}}, "'x' has data type F8_E5M2; readable are"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "has bytes 0 to 4 of 4"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "has bytes 0 to 8 of 4"),
        ({"x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}, "the tensors end at byte 2 of 4"),
        ({"x": {"shape": [2]}}, "the entry of 'x' is not in the safetensors format"),
    ],
)
def test_broken_files(tmp_path, header, message):
    with pytest.raises(ValueError, match=message):
        load_file(file_of(tmp_path / "x.safetensors", header, b"\0" * 4))


def test_no_file_and_no_tensor(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "absent")
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load_file(tmp_path / "short")
    with pytest.raises(TypeError, match="'x' is of type int"):
        save_file({"x": 3}, tmp_path / "y")
    assert not (tmp_path / "y").exists()
