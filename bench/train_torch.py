"""The paper's network in PyTorch on CPU, for bench/train.py; needs torch and numpy alone.

channels_last, one uint8 array in memory, gathered by a shuffled index: what a user who knows
PyTorch on CPUs would write.
"""

import argparse
import json
import time

import numpy as np
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--images", type=int)
parser.add_argument("--batch", type=int)
parser.add_argument("--threads", type=int)
parser.add_argument("--epochs", type=int)
parser.add_argument("--precision")
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
bfloat16 = arguments.precision == "bfloat16"


def block(channels: int, filters: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]


layers = [*block(3, 64), *block(64, 64), *block(64, 128), *block(128, 128), nn.Flatten()]
layers += [nn.Dropout(0.5), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 7)]
model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
assert sum(p.numel() for p in model.parameters()) == 788_551
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
random = np.random.default_rng(1)
pixels = torch.from_numpy(random.integers(0, 256, (arguments.images, 75, 100, 3), np.uint8))
labels = torch.from_numpy(random.integers(0, 7, arguments.images))


def epoch() -> None:
    order = torch.randperm(len(labels))
    for start in range(0, len(order) - arguments.batch + 1, arguments.batch):
        rows = order[start : start + arguments.batch]
        images = pixels[rows].permute(0, 3, 1, 2).float().div(255)
        images = images.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(model(images).float(), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())


epoch()
clock, cpu = time.monotonic(), time.process_time()
for _ in range(arguments.epochs):
    epoch()
count = arguments.images * arguments.epochs
rate = count / (time.monotonic() - clock)
print(json.dumps({"rate": rate, "cpu_ms": 1000 * (time.process_time() - cpu) / count}))
