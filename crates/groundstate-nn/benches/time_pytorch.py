"""Times in PyTorch what `examples/speed.rs` times: python time_pytorch.py [A|B] [threads] [seconds].

A: 16 pictures of 64×64; B: 8 of 128×128. For each operation: median and least wall time. Eager mode, both
memory formats; the faster is the one to compare with. To compare, run the two programs in turn several
times and take the ratio of medians.
"""

import statistics
import sys
import time

import torch
from torch import nn

NAME = sys.argv[1] if len(sys.argv) > 1 else "A"
torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 3.0
BATCH, SIDE = (8, 128) if NAME == "B" else (16, 64)
LAYERS = [(3, 32, 3, 1), (32, 64, 4, 2), (64, 64, 3, 1), (64, 128, 4, 2), (128, 128, 3, 1), (128, 128, 3, 1)]


def network():
    parts = []
    for inputs, outputs, kernel, stride in LAYERS:
        parts += [nn.Conv2d(inputs, outputs, kernel, stride, 1), nn.SiLU()]
    return nn.Sequential(*parts, nn.Conv2d(128, 1, 1))


def measure(label, call):
    call()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < SECONDS:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    print(f"{label:45} {statistics.median(times):8.2f} ms, least {min(times):8.2f} ms", flush=True)


def main():
    torch.manual_seed(1)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = network().to(memory_format=memory_format)
        name = str(memory_format).removeprefix("torch.")
        x = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=memory_format)

        def energies():
            with torch.inference_mode():
                model(x)

        def input_gradient():
            picture = x.clone().requires_grad_(True)
            torch.autograd.grad(model(picture).sum(), picture)

        def parameter_gradient():
            model.zero_grad(set_to_none=True)
            model(x).sum().backward()

        measure(f"energies, {name}", energies)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        measure(f"energies + input gradient, {name}", input_gradient)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        measure(f"energies + parameter gradient, {name}", parameter_gradient)

        def second_order():
            picture = x.clone().requires_grad_(True)
            score = torch.autograd.grad(model(picture).sum(), picture, create_graph=True)[0]
            model.zero_grad(set_to_none=True)
            (score * x).sum().backward()

        measure(f"second order (all of it), {name}", second_order)


if __name__ == "__main__":
    main()
