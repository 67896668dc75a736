"""PyTorch's side of `npm run bench`: a ResNet that learns in one of four ways, eager, autocast and channels_last.

Its calls are build, train, memory.
"""
import gc
import statistics
import time

import torch
import torchvision
from calls import serve_calls
from torch import nn


def megabytes(field: str) -> float:
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


def restart_peak() -> None:
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')


class Worker:
    def build(self, arch: str, kind: str, precision: str, batch: int, size: int, threads: int, device: str, compiled: bool) -> dict:
        self.device = device
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        gc.collect()
        # What importing costs is not the step's: memory counts from here.
        self.baseline = megabytes('VmRSS:')
        if device == 'cpu':
            restart_peak()
        self.rounded = precision == 'bfloat16'
        self.model = getattr(torchvision.models, arch)(num_classes=2).to(device, memory_format=torch.channels_last)
        self.model.train()
        self.run = torch.compile(self.model) if compiled else self.model
        norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        for parameter in self.model.parameters():
            parameter.requires_grad = kind == 'full'
        for parameter in self.model.fc.parameters():
            parameter.requires_grad = True
        for norm in norms:
            norm.train(kind != 'eval')
            for parameter in norm.parameters():
                parameter.requires_grad = kind in ('full', 'batch-norm-only')
        self.optimizer = torch.optim.Adam([parameter for parameter in self.model.parameters() if parameter.requires_grad], lr=1e-4)
        self.x = torch.rand(batch, 3, size, size).mul_(2).sub_(1).contiguous(memory_format=torch.channels_last)
        self.y = torch.arange(batch) % 2
        return {'version': torch.__version__, 'threads': torch.get_num_threads()}

    def step(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        # As a loader gives them: each step's pictures come from the processor's memory.
        x, y = self.x.to(self.device), self.y.to(self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.rounded):
            logits = self.run(x)
        loss = nn.functional.cross_entropy(logits.float(), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def train(self, steps: int) -> dict:
        times, loss = [], float('nan')
        for _ in range(steps):
            start = time.perf_counter()
            loss = self.step()
            times.append(1000 * (time.perf_counter() - start))
        return {'stepMs': statistics.median(times), 'loss': loss}

    def memory(self) -> dict:
        peak = megabytes('VmHWM:') - self.baseline if self.device == 'cpu' else torch.cuda.max_memory_allocated() / 2 ** 20
        return {'peakMiB': peak, 'processPeakMiB': megabytes('VmHWM:')}


if __name__ == '__main__':
    serve_calls(Worker())
