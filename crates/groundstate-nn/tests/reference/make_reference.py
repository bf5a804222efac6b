"""Writes reference.json: one small network's numbers as PyTorch computes them, in double precision.

Run with any PyTorch 2: python make_reference.py. Every layer of the crate occurs. Weights are stored as
`kernel, kernel, in, out` and pictures as `n, h, w, c`, the crate's order; PyTorch's are permuted here.
"""

import json
import pathlib

import torch
from torch.nn import functional

torch.manual_seed(20240607)
torch.set_default_dtype(torch.float64)

N, H, W = 2, 8, 12
WIDTH = 5

# (node, in, out, kernel, stride, activation, standardised): the crate's node numbers.
CONVS = [
    (4, 6, WIDTH, 3, 1, "silu", False),
    (5, WIDTH, WIDTH + 3, 4, 2, "silu", True),
    (6, WIDTH + 3, WIDTH + 3, 3, 1, "leaky_relu", False),
    (8, WIDTH + 3, 2 * WIDTH, 3, 2, "silu", True),
    (9, 2 * WIDTH, WIDTH, 1, 1, "identity", False),
    (13, WIDTH + WIDTH + 3 + WIDTH, WIDTH, 3, 1, "silu", False),
    (14, WIDTH, 1, 1, 1, "identity", False),
]
NODES = [
    {"layer": {"kind": "image", "channels": 3}},
    {"layer": {"kind": "coordinates"}},
    {"layer": {"kind": "noise_level"}},
    {"layer": {"kind": "concat"}, "inputs": [0, 1, 2]},
    4,
    5,
    6,
    {"layer": {"kind": "add"}, "inputs": [5, 6]},
    8,
    9,
    {"layer": {"kind": "upsample"}, "inputs": [9]},
    {"layer": {"kind": "average_pool"}, "inputs": [4]},
    {"layer": {"kind": "concat"}, "inputs": [10, 7, 11]},
    13,
    14,
]
INPUT = {4: 3, 5: 4, 6: 5, 8: 7, 9: 8, 13: 12, 14: 13}


def single(*shape):
    """Random numbers that are exact in single precision."""
    return torch.randn(*shape).float().double()


def make_parameters():
    parameters = {}
    for node, c, o, k, _, _, standardised in CONVS:
        parameters[f"conv{node}.weight"] = (single(k, k, c, o) / (k * k * c) ** 0.5).float().double()
        parameters[f"conv{node}.bias"] = (0.2 * single(o)).float().double()
        if standardised:
            parameters[f"conv{node}.gain"] = (1.5 + 0.3 * single(o)).float().double()
    for value in parameters.values():
        value.requires_grad_(True)
    return parameters


def conv(parameters, node, x):
    _, _, _, kernel, stride, activation, standardised = next(c for c in CONVS if c[0] == node)
    weight = parameters[f"conv{node}.weight"].permute(3, 2, 0, 1)
    if standardised:
        fan_in = weight[0].numel()
        mean = weight.mean(dim=(1, 2, 3), keepdim=True)
        variance = weight.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
        gain = parameters[f"conv{node}.gain"].view(-1, 1, 1, 1)
        weight = gain * (weight - mean) / torch.sqrt(variance * fan_in + 1e-4)
    z = functional.conv2d(x, weight, parameters[f"conv{node}.bias"], stride, 0 if kernel == 1 else 1)
    if activation == "silu":
        return functional.silu(z)
    return functional.leaky_relu(z, 0.2) if activation == "leaky_relu" else z


def energies(parameters, x, levels):
    """Local energies `n, h', w'` of pictures `n, h, w, c`."""
    picture = x.permute(0, 3, 1, 2)
    columns = (2 * torch.arange(W) + 1) / W - 1
    rows = (2 * torch.arange(H) + 1) / H - 1
    coordinates = torch.stack([columns.expand(H, W), rows.view(H, 1).expand(H, W)]).expand(N, 2, H, W)
    level = levels.view(N, 1, 1, 1).expand(N, 1, H, W)
    full = conv(parameters, 4, torch.cat([picture, coordinates, level], 1))
    half = conv(parameters, 5, full)
    half = half + conv(parameters, 6, half)
    quarter = conv(parameters, 9, conv(parameters, 8, half))
    up = functional.interpolate(quarter, scale_factor=2, mode="nearest")
    joined = torch.cat([up, half, functional.avg_pool2d(full, 2)], 1)
    return conv(parameters, 14, conv(parameters, 13, joined))[:, 0]


def numbers(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().reshape(-1).tolist()]


def gradients(parameters, value):
    values = list(parameters.values())
    grads = torch.autograd.grad(value, values, retain_graph=True, allow_unused=True, materialize_grads=True)
    return {name: numbers(g) for name, g in zip(parameters, grads)}


def main():
    parameters = make_parameters()
    x = single(N, H, W, 3).requires_grad_(True)
    levels, noise = single(N), single(N, H, W, 3)
    e = energies(parameters, x, levels)
    p, de = single(*e.shape), single(*e.shape)
    input_gradient = torch.autograd.grad((p * e).sum(), x, create_graph=True)[0]
    # Denoising score matching: the loss depends on the parameters through the input gradient. Its gradient
    # is that of Σ v·(∂(Σ p·e)/∂x) with v = 2 σ (σ g − n)/count held fixed; `de` adds a first-order term.
    sigma = 0.3
    score = torch.autograd.grad(e.sum(), x, create_graph=True)[0]
    matching = ((sigma * score - noise) ** 2).mean()
    reference = {
        "nodes": [],
        "size": [N, H, W],
        "parameters": {n: {"shape": list(v.shape), "values": numbers(v)} for n, v in parameters.items()},
        "x": numbers(x),
        "noise_levels": numbers(levels),
        "p": numbers(p),
        "de": numbers(de),
        "energies": numbers(e),
        "input_gradient": numbers(input_gradient),
        "parameter_gradient": gradients(parameters, (de * energies(parameters, x, levels)).sum()),
        "sigma": sigma,
        "noise": numbers(noise),
        "matching_loss": matching.item(),
        "matching_gradient": gradients(parameters, matching),
    }
    for node in NODES:
        if isinstance(node, int):
            _, _, o, k, s, activation, standardised = next(c for c in CONVS if c[0] == node)
            layer = {"kind": "conv", "out_channels": o, "kernel": k, "stride": s, "activation": activation}
            node = {"layer": layer | {"standardise": standardised}, "inputs": [INPUT[node]]}
        reference["nodes"].append(node)

    # Three steps of AdamW along fixed gradients; weights decay, biases and gains do not.
    settings = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1}
    weights = [v for n, v in parameters.items() if n.endswith("weight")]
    others = [v for n, v in parameters.items() if not n.endswith("weight")]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-6)
    rates = [0.01, 0.02, 0.005]
    for step, rate in enumerate(rates):
        for group in optimiser.param_groups:
            group["lr"] = rate
        for name, value in parameters.items():
            gradient = torch.tensor(reference["parameter_gradient"][name]).view(value.shape)
            value.grad = gradient * (1.0 - 0.7 * step)
        optimiser.step()
    reference["adamw"] = {"settings": settings, "rates": rates}
    reference["adamw"]["parameters"] = {n: numbers(v) for n, v in parameters.items()}
    target = pathlib.Path(__file__).with_name("reference.json")
    target.write_text(json.dumps(reference, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
