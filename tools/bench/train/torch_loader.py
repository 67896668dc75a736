"""torchvision's side of `npm run bench -- data`: a DataLoader over an ImageFolder with PIL, RandomResizedCrop, flip and normalisation.

Reads one JSON object a line from standard input, `{"name": "open" | "epoch", ...}`, and answers each with one line.
"""
import json
import sys
import time

import torch
import torchvision
from torchvision import transforms


class Worker:
    def open(self, folder: str, size: int, batch: int, workers: int) -> dict:
        # Each worker process is one core's; the main one only collects.
        torch.set_num_threads(1)
        augment = transforms.Compose([
            transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
            transforms.Normalize([.485, .456, .406], [.229, .224, .225]),
        ])
        dataset = torchvision.datasets.ImageFolder(folder, augment)
        self.loader = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        return {'pictures': len(dataset), 'version': torchvision.__version__}

    def epoch(self) -> dict:
        start, count = time.perf_counter(), 0
        for pixels, _ in self.loader:
            count += len(pixels)
        return {'pictures': count, 'seconds': time.perf_counter() - start}


def main() -> None:
    worker = Worker()
    print(json.dumps({'value': 'ready'}), flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {'value': getattr(worker, call.pop('name'))(**call)}
        except Exception as error:  # noqa: BLE001: whatever went wrong is the caller's to tell
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
