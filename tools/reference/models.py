"""torchvision's ResNets with the weights and the heads that the reference scripts need."""
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

from safetensors_io import read_safetensors

NORMALIZE = transforms.Normalize([.485, .456, .406], [.229, .224, .225])


def open_weights(named: str, arch: str) -> Dict[str, torch.Tensor]:
    """The state dictionary of a safetensors file, or for `seed:N` the one that torchvision's network begins with."""
    return seeded_weights(arch, int(named[5:])) if named.startswith('seed:') else read_safetensors(named)


def seeded_weights(arch: str, seed: int, classes: int = 10) -> Dict[str, torch.Tensor]:
    """
    torchvision's first values from a seed, with BatchNorm's scales, shifts and running statistics moved away from 1 and 0:
    the statistics of two passes over noise, each then moved by a random amount, so that eval mode has something to do.
    """
    torch.manual_seed(seed)
    model = getattr(torchvision.models, arch)(num_classes=classes)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(.5, 1.5)
            norm.bias.normal_(0, .1)
            norm.momentum = None
        for _ in range(2):
            model(torch.randn(4, 3, 64, 64))
        for norm in norms:
            norm.running_mean += .1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(.7, 1.4)
            norm.momentum = .1
    return model.state_dict()


class ConcatPool(nn.Module):
    """Average and maximum over the positions, side by side."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class GivenDropout(nn.Module):
    """Dropout of one half, with masks from outside: [steps, rows, features], 1 where a value is kept."""

    def __init__(self, masks: torch.Tensor) -> None:
        super().__init__()
        self.masks, self.step = masks, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = self.masks[self.step % len(self.masks)].to(x.dtype)
        self.step += 1
        return x * mask / .5


def build_classifier(arch: str, weights: Dict[str, torch.Tensor], classes: int, masks: Optional[torch.Tensor]) -> nn.Module:
    """The pretrained body with a new head: linear, or with masks the article's deep one. `fc` is the head's name."""
    model = getattr(torchvision.models, arch)(num_classes=weights['fc.bias'].numel())
    model.load_state_dict(weights, strict=False)
    width = model.fc.in_features
    torch.manual_seed(1)
    if masks is None:
        model.fc = nn.Linear(width, classes)
    else:
        model.avgpool = ConcatPool()
        model.fc = nn.Sequential(nn.Linear(2 * width, 512), nn.BatchNorm1d(512), nn.ReLU(), GivenDropout(masks), nn.Linear(512, classes))
    return model


def open_pictures(folder: str, size: int, count: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """The first pictures of each class folder in turn, as in validation: [count, 3, size, size] and their labels."""
    classes: List[List[Path]] = [sorted(path for path in place.iterdir()) for place in sorted(Path(folder).iterdir()) if place.is_dir()]
    resize = transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size), transforms.ToTensor(), NORMALIZE])
    chosen = [(classes[i % len(classes)][i // len(classes)], i % len(classes)) for i in range(count)]
    return torch.stack([resize(Image.open(path).convert('RGB')) for path, _ in chosen]), torch.tensor([label for _, label in chosen])


def drawn_pictures(size: int, count: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Smooth noise in two classes that its brightness tells apart, for machines without photographs."""
    torch.manual_seed(2)
    labels = torch.arange(count) % 2
    smooth = nn.functional.interpolate(torch.randn(count, 3, size // 8, size // 8), size=size, mode='bilinear', align_corners=False)
    return smooth + .3 * torch.randn(count, 3, size, size) + labels[:, None, None, None] - .5, labels
