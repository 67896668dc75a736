"""Logits of torchvision's network with weights from a seed, in eval mode.

usage: /usr/bin/python3 logits.py OUT --arch resnet101 [--seed 7] [--size 64] [--batch 2]
OUT is a safetensors file with `pictures` [batch, size, size, 3], `logits`, and the state dictionary under `weights/`.
"""
import argparse

import torch
import torchvision

from models import drawn_pictures, seeded_weights
from safetensors_io import write_safetensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out')
    parser.add_argument('--arch', required=True)
    parser.add_argument('--seed', type=int, default=7)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--batch', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    weights = seeded_weights(args.arch, args.seed)
    model = getattr(torchvision.models, args.arch)(num_classes=weights['fc.bias'].numel())
    model.load_state_dict(weights)
    model.eval()
    x, _ = drawn_pictures(args.size, args.batch)
    with torch.no_grad():
        logits = model(x)
    write_safetensors(args.out, {'pictures': x.permute(0, 2, 3, 1).contiguous(), 'logits': logits, **{f'weights/{name}': value for name, value in weights.items()}})


if __name__ == '__main__':
    main()
