"""torchvision's side of `npm run bench -- data`: a DataLoader over an ImageFolder with PIL, RandomResizedCrop, flip and normalisation.

Its calls are open, epoch.
"""
import time

import torch
import torchvision
from calls import serve_calls
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


if __name__ == '__main__':
    serve_calls(Worker())
