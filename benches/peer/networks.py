"""The crate's networks in PyTorch and ONNX, built from the list of layers that the Rust side writes."""

import io

import numpy
import torch
from torch import nn
from torch.nn import functional

LEAKY_SLOPE = 0.2


def split(flat, shapes):
    """Name → array, from the values of all tensors one after another."""
    arrays, at = {}, 0
    for name, shape in shapes:
        count = int(numpy.prod(shape))
        arrays[name] = flat[at : at + count].reshape(shape)
        at += count
    return arrays


def from_crate(name, array):
    """A tensor in PyTorch's order: weights come as `kernel, kernel, in, out`."""
    tensor = torch.from_numpy(numpy.ascontiguousarray(array))
    return tensor.permute(3, 2, 0, 1).contiguous() if name.endswith(".weight") else tensor.clone()


def to_crate(name, tensor):
    tensor = tensor.detach()
    return (tensor.permute(2, 3, 1, 0) if name.endswith(".weight") else tensor).numpy().ravel()


def standardised(weight, gain):
    """Scaled weight standardisation as in `groundstate_nn::Layer::Conv`."""
    mean = weight.mean(dim=(1, 2, 3), keepdim=True)
    variance = weight.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
    fan_in = weight[0].numel()
    return gain.view(-1, 1, 1, 1) * (weight - mean) / torch.sqrt(variance * fan_in + 1e-4)


class EnergyNetwork(nn.Module):
    """Pictures `n, c, h, w` and noise levels `n` → local energies `n, 1, h′, w′`.

    `folded`: standardised weights are computed once, here, as a program that only reads would do.
    """

    def __init__(self, description, arrays, side, folded):
        super().__init__()
        self.nodes = description["nodes"]
        self.folded = folded
        tensors = {name.replace(".", "_"): from_crate(name, array) for name, array in arrays.items()}
        if folded:
            for name in [name for name in tensors if name.endswith("_gain")]:
                weight = name.replace("_gain", "_weight")
                tensors[weight] = standardised(tensors[weight], tensors.pop(name))
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor))
        line = (2 * torch.arange(side) + 1) / side - 1
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("coordinates", torch.stack([columns, rows])[None])

    def forward(self, x, levels=None):
        values = []
        for index, node in enumerate(self.nodes):
            layer, inputs = node["layer"], [values[i] for i in node.get("inputs", [])]
            values.append(self.value(index, layer, inputs, x, levels))
        return values[-1]

    def value(self, index, layer, inputs, x, levels):
        n, _, h, w = x.shape
        match layer["kind"]:
            case "image":
                return x
            case "coordinates":
                return self.coordinates.expand(n, -1, -1, -1)
            case "noise_level":
                return levels.view(n, 1, 1, 1).expand(n, 1, h, w)
            case "concat":
                return torch.cat(inputs, 1)
            case "add":
                return sum(inputs)
            case "upsample":
                return functional.interpolate(inputs[0], scale_factor=2, mode="nearest")
            case "average_pool":
                return functional.avg_pool2d(inputs[0], 2)
            case "conv":
                weight, bias = getattr(self, f"conv{index}_weight"), getattr(self, f"conv{index}_bias")
                if layer["standardise"] and not self.folded:
                    weight = standardised(weight, getattr(self, f"conv{index}_gain"))
                z = functional.conv2d(inputs[0], weight, bias, layer["stride"], padding(layer))
                match layer["activation"]:
                    case "silu":
                        return functional.silu(z)
                    case "leaky_relu":
                        return functional.leaky_relu(z, LEAKY_SLOPE)
                return z
        raise ValueError(f"unknown layer {layer}")


def padding(layer):
    return 0 if layer["kernel"] == 1 else 1


def onnx_model(network, batch, side):
    """The forward pass of a folded network without noise level, as the bytes of an ONNX model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants, nodes = {}, []

    def constant(name, array):
        constants[name] = numpy_helper.from_array(numpy.ascontiguousarray(array), name)
        return name

    def add(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    for index, node in enumerate(network.nodes):
        layer, output = node["layer"], f"v{index}"
        inputs = [f"v{i}" for i in node.get("inputs", [])]
        match layer["kind"]:
            case "image":
                pass
            case "coordinates":
                constant(output, network.coordinates.expand(batch, -1, -1, -1).numpy())
            case "concat":
                add("Concat", inputs, output, axis=1)
            case "upsample":
                scales = constant("scales", numpy.array([1, 1, 2, 2], dtype=numpy.float32))
                mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                add("Resize", [inputs[0], "", scales], output, **mode)
            case "conv":
                tensors = [getattr(network, f"conv{index}_{part}") for part in ("weight", "bias")]
                names = [constant(f"{output}_{i}", t.detach().numpy()) for i, t in enumerate(tensors)]
                silu = layer["activation"] == "silu"
                sums = f"z{index}" if silu else output
                shape = {"strides": [layer["stride"]] * 2, "pads": [padding(layer)] * 4}
                add("Conv", [inputs[0], *names], sums, **shape)
                if silu:
                    add("Sigmoid", [sums], f"s{index}")
                    add("Mul", [sums, f"s{index}"], output)
            case kind:
                raise ValueError(f"no ONNX for layer {kind}")
    x = helper.make_tensor_value_info("v0", TensorProto.FLOAT, [batch, 3, side, side])
    e = helper.make_tensor_value_info(f"v{len(network.nodes) - 1}", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "energy", [x], [e], list(constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()
