"""The yardstick of the exchange: torch.distributed sums a float32 tensor over processes by Gloo.

usage: /usr/bin/python3 all_reduce.py RANK WORLD PORT MEGABYTES ROUNDS
Rank 0 prints the median of the rounds in ms, after one that is not counted.
"""
import datetime
import json
import statistics
import sys
import time

import torch
import torch.distributed as dist


def main(rank: int, world: int, port: int, megabytes: int, rounds: int) -> None:
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=world, timeout=datetime.timedelta(seconds=60))
    values = torch.empty(megabytes * 1_000_000 // 4)
    times = []
    for _ in range(rounds + 1):
        values.fill_(rank + 1)
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(values)
        times.append(1000 * (time.perf_counter() - start))
    assert bool((values == world * (world + 1) / 2).all())
    if rank == 0:
        print(json.dumps({'medianMs': statistics.median(times[1:])}))


if __name__ == '__main__':
    main(*(int(argument) for argument in sys.argv[1:]))
