"""Tensors in files: safetensors, PyTorch's formats, and checkpoints of a training. Nothing in a file is ever executed."""

from polygrad.io.checkpoint import load_checkpoint, save_checkpoint
from polygrad.io.files import load, save
from polygrad.io.safetensors import load_file, load_metadata, save_file

__all__ = ["load", "load_checkpoint", "load_file", "load_metadata", "save", "save_checkpoint", "save_file"]
