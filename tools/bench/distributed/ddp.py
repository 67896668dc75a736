"""PyTorch's DistributedDataParallel over Gloo on the same work: ResNet34, all layers learn, Adam, random pixels, one thread a process.

usage: /usr/bin/python3 ddp.py RANK WORLD PORT PRECISION PICTURES STEPS ROUNDS
Alone and together in turn. Rank 0 prints the medians of a step in ms: alone (while the other waits), and together.
"""
import contextlib
import datetime
import json
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torchvision
from torch.nn.parallel import DistributedDataParallel


def measure(model, optimizer, x, y, precision: str, steps: int) -> float:
    loss_of = torch.nn.CrossEntropyLoss()
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast('cpu', torch.bfloat16) if precision == 'bfloat16' else contextlib.nullcontext():
            logits = model(x)
        loss_of(logits.float(), y).backward()
        optimizer.step()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def main(rank: int, world: int, port: int, precision: str, pictures: int, steps: int, rounds: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=world, timeout=datetime.timedelta(seconds=120))
    torch.manual_seed(1)
    model = torchvision.models.resnet34(num_classes=2).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    shared = DistributedDataParallel(model)
    x = torch.randn(pictures, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    y = torch.arange(pictures) % 2
    alone, together = [], []
    for _ in range(rounds):
        if rank == 0:
            alone.append(measure(model, optimizer, x, y, precision, steps))
        dist.barrier()
        together.append(measure(shared, optimizer, x, y, precision, steps))
        dist.barrier()
    if rank == 0:
        print(json.dumps({'oneMs': statistics.median(alone), 'togetherMs': statistics.median(together)}))


if __name__ == '__main__':
    rank, world, port, precision, pictures, steps, rounds = sys.argv[1:]
    main(int(rank), int(world), int(port), precision, int(pictures), int(steps), int(rounds))
