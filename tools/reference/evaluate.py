"""What PyTorch says of each picture of a folder, with a state dictionary's own classifier.

usage: /usr/bin/python3 evaluate.py WEIGHTS DATA --arch resnet50 [--size 224] [--resize 256] [--every 10] [--bfloat16]
DATA has one folder a class, in the order of the classes. Prints a line of JSON a picture, with `--every N` of every Nth in
ImageFolder's order: its path, label, the predicted class, and the margin of the largest logit over the second.
"""
import argparse
import json
import sys

import torch
import torchvision
from torchvision import datasets, transforms

from models import NORMALIZE
from safetensors_io import read_safetensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights')
    parser.add_argument('data')
    parser.add_argument('--arch', required=True)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--resize', type=int, help='the shorter side before the centre crop; 256 / 224 of the size')
    parser.add_argument('--every', type=int, default=1)
    parser.add_argument('--bfloat16', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(1)
    weights = read_safetensors(args.weights)
    model = getattr(torchvision.models, args.arch)(num_classes=weights['fc.bias'].numel())
    model.load_state_dict(weights, strict=False)
    model.eval()
    resize = args.resize or round(args.size * 256 / 224)
    folder = datasets.ImageFolder(args.data, transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(args.size), transforms.ToTensor(), NORMALIZE]))
    chosen = torch.utils.data.Subset(folder, range(0, len(folder), args.every))
    row = 0
    for x, y in torch.utils.data.DataLoader(chosen, 25):
        with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16, enabled=args.bfloat16):
            best = model(x).float().topk(2, 1)
        for label, values, classes in zip(y.tolist(), best.values.tolist(), best.indices.tolist()):
            path = folder.samples[row * args.every][0][len(args.data):].lstrip('/')
            print(json.dumps({'path': path, 'label': label, 'predicted': classes[0], 'margin': values[0] - values[1]}))
            row += 1


if __name__ == '__main__':
    sys.exit(main())
