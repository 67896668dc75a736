"""PyTorch's side of the parity tests: what a training step computes, stage by stage, and where 20 steps lead.

usage: /usr/bin/python3 traces.py OUT --weights FILE|seed:N --arch resnet18 [--size 64] [--batch 4] [--steps 20]
           [--pictures FOLDER] [--masks FILE] [--modes batch-stats,eval,...] [--layout channels_last]

OUT gets `batches.safetensors` (the pictures [batches, batch, size, size, 3], their labels, and for seed:N the weights under
`weights/`), and for each freezing mode `<mode>.safetensors` and `<mode>.json`:
    start/<name>            the head before the first step
    activation/<stage>      conv1, bn1, layer1 ... layer4, pooled, logits of the first step, float32
    gradient/<name>         of every parameter that learns, in the first step
    statistics/<name>       running statistics after the first step
    after/<name>            parameters that learn, and statistics, after all steps of Adam (1e-3)
    bfloat16/logits         of the first step under autocast
The JSON has both losses and the names of the parameters that learn. FILE of --masks is a safetensors file whose `masks`
[steps, batch, 512] are the deep head's dropout. --layout channels_last computes the same in another memory order: how far
PyTorch is from itself.
"""
import argparse
import copy
import json
from pathlib import Path
from typing import Dict, Tuple

import torch
from torch import nn

from models import build_classifier, drawn_pictures, open_pictures, open_weights
from safetensors_io import read_safetensors, write_safetensors

RATE = 1e-3
# What learns of the body, what its BatchNorm does, the body's rate over the head's, and the kind of the head.
MODES: Dict[str, Tuple[str, str, float, str]] = {
    'batch-stats': ('none', 'batch-stats', 1, 'linear'),
    'eval': ('none', 'eval', 1, 'linear'),
    'batch-norm-only': ('none', 'batch-norm-only', 1, 'linear'),
    'unfrozen': ('all', 'batch-norm-only', .01, 'linear'),
    'unfrozen-bn-eval': ('all', 'eval', .01, 'linear'),
    'deep-head': ('all', 'batch-norm-only', .01, 'deep'),
}
STAGES = ('conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4')


def set_mode(model: nn.Module, mode: str) -> torch.optim.Optimizer:
    """Freezes what the mode freezes, sets BatchNorm, and gives an optimizer with the mode's two groups."""
    trains, batch_norm, ratio, _ = MODES[mode]
    head = list(model.fc.parameters())
    body = [parameter for name, parameter in model.named_parameters() if not name.startswith('fc.')]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model.train()
    for parameter in body:
        parameter.requires_grad = trains == 'all'
    for norm in norms:
        norm.train(batch_norm != 'eval')
        for parameter in norm.parameters():
            parameter.requires_grad = batch_norm == 'batch-norm-only'
    return torch.optim.Adam([{'params': body, 'lr': RATE * ratio}, {'params': head, 'lr': RATE}])


def watch(model: nn.Module, seen: Dict[str, torch.Tensor]) -> list:
    """Hooks that keep copies of what the stages give: ReLU changes bn1's output where it lies."""
    def keep(name: str):
        return lambda _module, given, y: seen.__setitem__(f'activation/{name}', y.detach().float().clone())
    hooks = [getattr(model, name).register_forward_hook(keep(name)) for name in STAGES]
    hooks.append(model.fc.register_forward_pre_hook(lambda _module, given: seen.__setitem__('activation/pooled', given[0].detach().clone())))
    hooks.append(model.fc.register_forward_hook(keep('logits')))
    return hooks


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor, bfloat16: bool = False) -> Tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=bfloat16):
        logits = model(x)
    return nn.functional.cross_entropy(logits.float(), y), logits.detach().float()


def statistics(model: nn.Module) -> Dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers() if name.endswith(('running_mean', 'running_var'))}


def trace(mode: str, model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> Tuple[Dict[str, torch.Tensor], dict]:
    """x is [batches, batch, 3, size, size]; a step takes the next of them."""
    optimizer = set_mode(model, mode)
    out = {f'start/{name}': value.clone() for name, value in model.state_dict().items() if name.startswith('fc.')}
    rounded_loss, rounded_logits = loss_of(copy.deepcopy(model), x[0], y[0], bfloat16=True)
    losses = []
    for step in range(steps):
        hooks = watch(model, out) if step == 0 else []
        optimizer.zero_grad(set_to_none=True)
        loss, _ = loss_of(model, x[step % len(x)], y[step % len(x)])
        loss.backward()
        losses.append(loss.item())
        for hook in hooks:
            hook.remove()
        if step == 0:
            out.update({f'gradient/{name}': parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None})
            out.update({f'statistics/{name}': value for name, value in statistics(model).items()})
        optimizer.step()
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    after = {**{name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}, **statistics(model)}
    out.update({f'after/{name}': value for name, value in after.items()})
    out['bfloat16/logits'] = rounded_logits
    return out, {'mode': mode, 'steps': steps, 'losses': losses, 'bfloat16Loss': rounded_loss.item(), 'learning': learning}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out')
    parser.add_argument('--weights', required=True)
    parser.add_argument('--arch', required=True)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--batches', type=int, default=2, help='different batches, which the steps take in turn')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--pictures', help='a folder of class folders; without it noise is drawn')
    parser.add_argument('--masks')
    parser.add_argument('--modes', default=','.join(MODES))
    parser.add_argument('--layout', choices=['contiguous', 'channels_last'], default='contiguous')
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    count = args.batch * args.batches
    pixels, labels = open_pictures(args.pictures, args.size, count) if args.pictures else drawn_pictures(args.size, count)
    weights = open_weights(args.weights, args.arch)
    x, y = pixels.reshape(args.batches, args.batch, *pixels.shape[1:]), labels.reshape(args.batches, args.batch)
    made = {f'weights/{name}': value for name, value in weights.items()} if args.weights.startswith('seed:') else {}
    write_safetensors(str(out / 'batches.safetensors'), {'pictures': x.permute(0, 1, 3, 4, 2).contiguous(), 'labels': y, **made})
    masks = read_safetensors(args.masks)['masks'] if args.masks else None
    for mode in args.modes.split(','):
        model = build_classifier(args.arch, weights, 2, masks if MODES[mode][3] == 'deep' else None)
        if args.layout == 'channels_last':
            model = model.to(memory_format=torch.channels_last)
        tensors, facts = trace(mode, model, x, y, args.steps)
        write_safetensors(str(out / f'{mode}.safetensors'), tensors)
        (out / f'{mode}.json').write_text(json.dumps(facts))


if __name__ == '__main__':
    main()
