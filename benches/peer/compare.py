"""Times groundstate, PyTorch and ONNX Runtime on the same networks, in turn. Start it with `./run`.

Each cell is one operation on one network, batch and number of threads. In every round each candidate runs
it once untimed, then as often as fills about `--slice` ms; a candidate's time is the median of all its
calls, and its ratio is to the fastest median among PyTorch's modes.

Operations, each from and to plain arrays in memory:
    forward             energies
    input_gradient      energies, and the gradient of their weighted sum at the pixels
    parameter_gradient  energies, and that gradient at the parameters (standardised weights included)
    train_step          parameter_gradient of a logistic loss, clipping, AdamW, weight average: method
                        `contrast` from the corrupted pictures on
    train_step_dsm      the same with the second-order loss of method `dsm`, from the noisy pictures on
    train_step_cd       the same with the loss of method `cd`, after its 20 Langevin steps with their noise
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime
import torch
import torch._inductor.config
from torch.nn import functional

from networks import EnergyNetwork, from_crate, onnx_model, split, to_crate

LEARNING_RATE, GRADIENT_CLIP, AVERAGE_DECAY = 1e-4, 1.0, 0.998
LANGEVIN_STEPS, STEP_SIZE, CHAIN_NOISE, CHAIN_CLIP = 20, 2.0, 0.005, 0.01
BASIC = ["forward", "input_gradient", "parameter_gradient", "train_step"]
MODES = ["torch_eager", "torch_channels_last", "torch_compile"]
# Network, name of its rows, side, batches, operations. Learned methods train at 128 px, `cd` at 64 px.
SUBJECTS = [
    ("A", "A", 64, [1, 8, 16], BASIC),
    ("B", "B", 128, [1, 8, 16], BASIC),
    ("default", "default", 256, [1, 8, 16], BASIC),
    ("default", "default at 128 px", 128, [16], ["train_step"]),
    ("default-dsm", "default at 128 px", 128, [16], ["train_step_dsm"]),
    ("default", "default at 64 px", 64, [16], ["train_step_cd"]),
]
QUICK = [
    ("A", "A", 64, [1, 16], BASIC),
    ("default", "default", 256, [1], BASIC),
    ("default-dsm", "default at 128 px", 128, [16], ["train_step_dsm"]),
]


class Groundstate:
    """The Rust side, a process that answers line by line."""

    def __init__(self, program, folder):
        self.folder = pathlib.Path(folder)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen([program, folder], **pipes)

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"the Rust side ended at: {' '.join(map(str, words))}")
        return answer.strip()

    def cpu_seconds(self):
        """Of all threads so far; exact while they sleep."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) * 1e-9

    def read(self, name):
        return numpy.fromfile(self.folder / f"{name}.f32", dtype="<f4")


class Torch:
    """One mode of PyTorch on one subject."""

    def __init__(self, mode, description, data, side, batch):
        self.mode = mode
        arrays = split(data["parameters"], description["shapes"])
        self.folded = EnergyNetwork(description, arrays, side, folded=True).requires_grad_(False)
        self.trained = EnergyNetwork(description, arrays, side, folded=False)
        channels_last = mode == "torch_channels_last"
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        pictures = lambda name: torch.from_numpy(data[name]).view(batch, side, side, 3).permute(0, 3, 1, 2)
        self.x = pictures("x").contiguous(memory_format=self.format)
        self.noise = pictures("noise").contiguous(memory_format=self.format)
        self.levels = torch.from_numpy(data["levels"]) if len(data["levels"]) else None
        map_side = int((len(data["weights"]) / batch) ** 0.5)
        cells = lambda name: torch.from_numpy(data[name]).view(batch, 1, map_side, map_side)
        self.weights, self.labels = cells("weights"), cells("labels")
        self.chains = self.x.clone()
        self.folded.to(memory_format=self.format)
        self.trained.to(memory_format=self.format)
        decays = lambda name: name.endswith("_weight")
        groups = [
            {"params": [p for n, p in self.trained.named_parameters() if decays(n)], "weight_decay": 0.01},
            {"params": [p for n, p in self.trained.named_parameters() if not decays(n)], "weight_decay": 0.0},
        ]
        self.parameters = list(self.trained.parameters())
        self.adamw = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
        self.average = [p.detach().clone() for p in self.parameters]
        self.read, self.learn = self.folded, self.trained
        if mode == "torch_compile":
            torch._dynamo.reset()
            self.read, self.learn = (torch.compile(m, dynamic=False) for m in (self.folded, self.trained))

    def offers(self, operation):
        # PyTorch does not compile second order; compiling for every batch of chains would take minutes.
        return self.mode != "torch_compile" or operation in BASIC

    def run(self, operation):
        return getattr(self, operation)()

    def forward(self):
        with torch.no_grad():
            return self.read(self.x, self.levels)

    def input_gradient(self):
        x = self.x.detach().requires_grad_(True)
        energies = self.read(x, self.levels)
        return energies, torch.autograd.grad(energies, x, self.weights)[0]

    def parameter_gradient(self):
        energies = self.learn(self.x, self.levels)
        return torch.autograd.grad(energies, self.parameters, self.weights)

    def train_step(self):
        self.adamw.zero_grad(set_to_none=True)
        energies = self.learn(self.x, self.levels)
        functional.binary_cross_entropy_with_logits(energies, self.labels).backward()
        self.update()

    def train_step_dsm(self):
        self.adamw.zero_grad(set_to_none=True)
        x = self.x.detach().requires_grad_(True)
        energies = self.trained(x, self.levels)
        score = torch.autograd.grad(energies.sum(), x, create_graph=True)[0]
        (score - self.noise).square().mean().backward()
        self.update()

    def train_step_cd(self):
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        for _ in range(LANGEVIN_STEPS):
            x = self.chains.detach().requires_grad_(True)
            slope = torch.autograd.grad(self.trained(x).sum(), x)[0]
            self.chains.sub_(slope.clamp_(-CHAIN_CLIP, CHAIN_CLIP), alpha=STEP_SIZE)
            self.chains.add_(torch.randn_like(x), alpha=CHAIN_NOISE).clamp_(0, 1)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.adamw.zero_grad(set_to_none=True)
        positive, negative = self.trained(torch.cat([self.x, self.chains])).chunk(2)
        squares = positive.square().mean() + negative.square().mean()
        (positive.mean() - negative.mean() + squares).backward()
        self.update()

    def update(self):
        torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_CLIP)
        self.adamw.step()
        torch._foreach_lerp_(self.average, self.parameters, 1 - AVERAGE_DECAY)

    def time(self, operation, calls):
        self.run(operation)
        return timed(lambda: self.run(operation), calls)


class OnnxRuntime:
    """ONNX Runtime's CPU provider, forward only."""

    mode = "onnxruntime"

    def __init__(self, network, x, side, batch, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Waiting threads that spin would take a core from the next candidate.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        model = onnx_model(network, batch, side)
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.x = {"v0": x.contiguous().numpy()}

    def offers(self, operation):
        return operation == "forward"

    def run(self, _):
        return self.session.run(None, self.x)[0]

    def time(self, operation, calls):
        self.run(operation)
        return timed(lambda: self.run(operation), calls)


class Served:
    """The Rust side as one of the candidates."""

    mode = "groundstate"

    def __init__(self, process):
        self.process = process

    def offers(self, _):
        return True

    def time(self, operation, calls):
        before = self.process.cpu_seconds()
        walls = [float(ms) for ms in self.process.ask("time", operation, calls).split()]
        return walls, 1e3 * (self.process.cpu_seconds() - before) / (calls + 1)


def timed(call, calls):
    """Milliseconds of each call, and of processors per call."""
    walls, before = [], time.process_time()
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        walls.append((time.perf_counter() - begin) * 1e3)
    return walls, 1e3 * (time.process_time() - before) / calls


def agree(what, ours, theirs, bound):
    """Stops unless both are equal up to `bound`, as a share of the norm."""
    error = float(numpy.linalg.norm(ours.astype("f8") - theirs) / numpy.linalg.norm(theirs))
    if not error <= bound:
        sys.exit(f"{what} differ from PyTorch's by {error:.1e} of their norm, expected at most {bound:.0e}")
    return error


def check(process, mode, runtime, description):
    """Our numbers against PyTorch's, and ONNX Runtime's; on fresh weights."""
    process.ask("numbers")
    flat = lambda t: t.detach().permute(0, 2, 3, 1).numpy().ravel()
    energies, slope = mode.input_gradient()
    errors = {"energies": agree("energies", process.read("energies"), flat(energies), 1e-4)}
    errors["input gradient"] = agree("input gradients", process.read("input_gradient"), flat(slope), 1e-4)
    if runtime:
        agree("ONNX Runtime's energies", runtime.run("forward").ravel(), flat(energies), 1e-4)
    names = [name for name, _ in description["shapes"]]
    ordered = lambda tensors: numpy.concatenate([to_crate(n, t) for n, t in zip(names, tensors)])
    found = ordered(mode.parameter_gradient())
    ours = process.read("parameter_gradient")
    errors["parameter gradient"] = agree("parameter gradients", ours, found, 1e-3)
    before = ordered(mode.parameters)
    mode.run("train_step" if mode.levels is None else "train_step_dsm")
    # AdamW's first step is rate · sign of the gradient: where that is next to nothing, rounding decides.
    step, ours = ordered(mode.parameters) - before, process.read("stepped") - before
    errors["optimiser step"] = agree("optimiser steps", ours, step, 3e-2)
    return errors


def measure(candidates, operation, rounds, slice_ms):
    """Milliseconds of all calls of each candidate, by round, with the processor's per call."""
    first = {c.mode: c.time(operation, 1)[0][0] for c in candidates}
    calls = {mode: max(1, min(30, round(slice_ms / ms))) for mode, ms in first.items()}
    times = {c.mode: [] for c in candidates}
    for turn in range(rounds):
        order = candidates[turn % len(candidates) :] + candidates[: turn % len(candidates)]
        for candidate in order:
            time.sleep(0.01)  # Threads of the one before go to sleep.
            times[candidate.mode].append(candidate.time(operation, calls[candidate.mode]))
    return times


def rows(times, labels):
    """One row per candidate; the spread is that of the rounds' own ratios, from quartile to quartile.

    `cpu_ms` is the processors' time of a call, waiting threads that spin included: with one thread it is what
    `median_ms` would be if no other program ran.
    """
    medians = {mode: statistics.median(sum((walls for walls, _ in runs), [])) for mode, runs in times.items()}
    cpu = {mode: statistics.median(ms for _, ms in runs) for mode, runs in times.items()}
    modes = [mode for mode in times if mode.startswith("torch")]
    best, best_cpu = min(modes, key=medians.get), min(modes, key=cpu.get)
    for mode, runs in times.items():
        pairs = zip(runs, times[best])
        ratios = sorted(statistics.median(a) / statistics.median(b) for (a, _), (b, _) in pairs)
        spread = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
        found = {
            "candidate": mode,
            "median_ms": round(medians[mode], 4),
            "ratio_to_best_torch": round(medians[mode] / medians[best], 4),
            "ratio_spread": [round(r, 4) for r in spread],
            "cpu_ms": round(cpu[mode], 4),
            "cpu_ratio_to_best_torch": round(cpu[mode] / cpu[best_cpu], 4),
        }
        yield labels | found


def busy_seconds():
    """Seconds that all processors have worked since the start of the machine, and those of this program."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / 100


def own_seconds(process):
    def of(pid):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    return of("self") + of(process.process.pid)


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program", help="the Rust side, as built by ./run")
    parser.add_argument("--quick", action="store_true", help="fewer subjects and rounds, no torch.compile")
    parser.add_argument("--rounds", type=int, help="rounds of each cell (default 5, quick 3)")
    parser.add_argument("--slice", type=float, default=60, help="ms of a candidate's turn (default 60)")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="PyTorch's modes (default all, quick the first two)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", help="only cells with so many pictures (default all)")
    parser.add_argument("--output", default="results.json", help="where to write (default results.json)")
    settings = parser.parse_args()
    rounds = settings.rounds or (3 if settings.quick else 5)
    # One compilation serves all numbers of threads.
    torch._inductor.config.cpp.dynamic_threads = True
    modes = settings.modes or MODES[: 2 if settings.quick else 3]
    found, others, start = [], [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        process = Groundstate(settings.program, folder)
        for network, label, side, batches, operations in QUICK if settings.quick else SUBJECTS:
            for batch in [b for b in batches if settings.batches is None or b in settings.batches]:
                for threads in settings.threads:
                    torch.set_num_threads(threads)
                    process.ask("open", network, side, batch, threads)
                    description = json.loads((process.folder / "network.json").read_text())
                    names = ["parameters", "x", "levels", "weights", "labels", "noise"]
                    data = {name: process.read(name) for name in names}
                    peers = [Torch(mode, description, data, side, batch) for mode in modes]
                    if "forward" in operations:
                        peers.append(OnnxRuntime(peers[0].folded, peers[0].x, side, batch, threads))
                    runtime = peers[-1] if "forward" in operations else None
                    errors = check(process, peers[0], runtime, description)
                    text = ", ".join(f"{what} {error:.0e}" for what, error in errors.items())
                    print(f"{label}, batch {batch}, {threads} threads: errors {text}", flush=True)
                    for operation in operations:
                        candidates = [c for c in [Served(process), *peers] if c.offers(operation)]
                        begin, busy = time.perf_counter(), busy_seconds() - own_seconds(process)
                        times = measure(candidates, operation, rounds, settings.slice)
                        busy = busy_seconds() - own_seconds(process) - busy
                        others.append(busy / (time.perf_counter() - begin))
                        cell = {"network": label, "operation": operation, "threads": threads, "batch": batch}
                        new = list(rows(times, cell))
                        found += new
                        parts = [f"{r['candidate']} {r['median_ms']:.2f} ms" for r in new]
                        ours = f"{new[0]['ratio_to_best_torch']:.2f} ({'–'.join(map('{:.2f}'.format, new[0]['ratio_spread']))})"
                        share = f"cpu {new[0]['cpu_ratio_to_best_torch']:.2f}, others {others[-1]:.1f} cores"
                        print(f"  {operation:18} {ours:18} {', '.join(parts)}; {share}", flush=True)
    machine = {
        "processor": processor(),
        "instructions": description["kernels"],
        "cores_used_by_other_programs": {
            "median": round(statistics.median(others), 2),
            "highest": round(max(others), 2),
        },
        "torch": torch.__version__,
        "torch_modes": modes,
        "onnxruntime": onnxruntime.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(time.perf_counter() - start),
    }
    pathlib.Path(settings.output).write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")
    print(f"{len(found)} rows in {settings.output}, {machine['seconds']} s")


if __name__ == "__main__":
    main()
