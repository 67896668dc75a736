"""How far two folders of traces are from each other: the largest |a - b| / |b| of each kind of tensor.

usage: /usr/bin/python3 compare.py FOLDER OTHER
Made with and without `--layout channels_last`, it says how far PyTorch is from itself, which no tolerance can be below.
"""
import sys
from collections import defaultdict
from pathlib import Path

from safetensors_io import read_safetensors


def main(folder: str, other: str) -> None:
    largest = defaultdict(lambda: (-1.0, ''))
    for path in sorted(Path(folder).glob('*.safetensors')):
        if path.name in ('batches.safetensors', 'masks.safetensors'):
            continue
        a, b = read_safetensors(str(path)), read_safetensors(str(Path(other) / path.name))
        for name, value in a.items():
            kind, _, rest = name.partition('/')
            error = ((value.double() - b[name].double()).norm() / b[name].double().norm().clamp_min(1e-30)).item()
            key = f'{kind} of statistics' if kind == 'after' and 'running_' in name else kind
            largest[key] = max(largest[key], (error, f'{path.stem}, {rest}'))
    for kind, (error, where) in largest.items():
        print(f'{kind:22s} {error:.1e}  {where}')


if __name__ == '__main__':
    main(*sys.argv[1:3])
