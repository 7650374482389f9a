"""Reads a safetensors file with the reference implementation and prints name, type, shape and bytes of each tensor.

Usage: python3 read_safetensors.py FILE   (needs numpy and safetensors)
"""

import sys

from safetensors import safe_open

with safe_open(sys.argv[1], framework="numpy") as file:
    for key, value in sorted((file.metadata() or {}).items()):
        print("metadata", key, value.encode().hex())
    for name in sorted(file.keys()):
        tensor = file.get_tensor(name)
        shape = "x".join(map(str, tensor.shape))
        print(name.encode().hex(), tensor.dtype, shape, tensor.tobytes().hex())
