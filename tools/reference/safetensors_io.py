"""Reads and writes safetensors files with numpy alone: 8 bytes of length, a header in JSON, the tensors' bytes."""
import json
import struct
from pathlib import Path
from typing import Dict, Mapping

import numpy as np
import torch

KINDS = {'F32': np.float32, 'F16': np.float16, 'I64': np.int64, 'I32': np.int32, 'U8': np.uint8}
NAMES = {np.dtype(kind): name for name, kind in KINDS.items()}


def read_safetensors(path: str) -> Dict[str, torch.Tensor]:
    """The tensors by name; half precision is widened to float32."""
    raw = Path(path).read_bytes()
    length, = struct.unpack('<Q', raw[:8])
    tensors = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name == '__metadata__':
            continue
        start, end = entry['data_offsets']
        values = np.frombuffer(raw[8 + length + start:8 + length + end], KINDS[entry['dtype']]).reshape(entry['shape']).copy()
        tensors[name] = torch.from_numpy(values).float() if entry['dtype'] == 'F16' else torch.from_numpy(values)
    return tensors


def write_safetensors(path: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes the tensors in their order and type."""
    header, parts, offset = {}, [], 0
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor.detach().numpy())
        header[name] = {'dtype': NAMES[values.dtype], 'shape': list(tensor.shape), 'data_offsets': [offset, offset + values.nbytes]}
        offset += values.nbytes
        parts.append(values)
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        for values in parts:
            file.write(values.tobytes())
