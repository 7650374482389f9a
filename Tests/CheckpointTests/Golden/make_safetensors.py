"""Writes tiny.safetensors with the reference implementation, for SafetensorsTests.

Run from this folder: python3 make_safetensors.py   (needs numpy and safetensors 0.8.0)
"""

import numpy as np
from safetensors.numpy import save_file

save_file(
    {
        "layer1.0.conv1.weight": np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 4 - 0.5,
        "half": np.array([1.0, -2.5, 65504.0], dtype=np.float16),
        "quantized": np.array([[-127, 0, 127]], dtype=np.int8),
        "unsigned": np.array([0, 255], dtype=np.uint8),
        "narrow": np.array([-(2**31), 2**31 - 1], dtype=np.int32),
        "bn1.num_batches_tracked": np.array(1234567890123, dtype=np.int64),
        "wide": np.array([2**64 - 1], dtype=np.uint64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    },
    "tiny.safetensors",
    metadata={"format": "pt", "quote": 'a "word" \\ and a\nline'},
)
