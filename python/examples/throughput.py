#!/usr/bin/env python3
"""Throughput of RMSNorm over dim on a GPU, from Python, beside F.rms_norm and a copy: a table, and a plot as SVG.

    python python/examples/throughput.py --plot throughput.svg

x has 64 MiB of f16; each call has an x and y of its own, in turn, so that none is in the cache. GPU time a call is that
of a CUDA graph of 20 calls, the median of seven replays. Throughput counts x read once and y written once.
"""

import argparse
import statistics

import torch

from norm_gpu import exllamav2_ext as ext

BYTES, CALLS, EPS = 64 << 20, 20, 1e-6
DIMS = [1 << bits for bits in range(8, 18)]
COLORS = {"norm_gpu": "#1b6ca8", "F.rms_norm": "#c46a1b", "copy": "#777777"}


def microseconds(call):
    """GPU time of a call, which is given its number."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        call(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(CALLS):
            call(index)
    times = []
    for _ in range(7):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / CALLS)
    return statistics.median(times)


def measure(dim):
    """TB/s by name."""
    rows = BYTES // 2 // dim
    x = [torch.randn(rows, dim, device="cuda").half() for _ in range(8)]
    y = [torch.empty_like(x[0]) for _ in x]
    w = torch.ones(dim, device="cuda").half()
    calls = {
        "norm_gpu": lambda i: ext.rms_norm(x[i % 8], w, y[i % 8], EPS),
        "F.rms_norm": lambda i: torch.nn.functional.rms_norm(x[i % 8], (dim,), w, EPS),
        "copy": lambda i: y[i % 8].copy_(x[i % 8]),
    }
    return {name: 2 * BYTES / microseconds(call) / 1e6 for name, call in calls.items()}


def plot(results, device):
    """An SVG of TB/s over dim, a line a name."""
    width, height, left, top = 640, 400, 60, 40
    most = max(max(line.values()) for line in results.values()) * 1.1
    across = (width - left - 20) / (len(DIMS) - 1)
    place = lambda i, value: (left + i * across, top + (height - top - 50) * (1 - value / most))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="20" font-size="14">RMSNorm from Python, f16, {device}: TB/s over dim</text>',
    ]
    for value in range(int(most) + 1):
        _, down = place(0, value)
        parts.append(f'<path d="M{left} {down:.1f}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{down + 4:.1f}" text-anchor="end">{value}</text>')
    for i, dim in enumerate(DIMS):
        parts.append(f'<text x="{place(i, 0)[0]:.1f}" y="{height - 30}" text-anchor="middle">{dim}</text>')
    for number, (name, color) in enumerate(COLORS.items()):
        points = " ".join("{:.1f},{:.1f}".format(*place(i, results[dim][name])) for i, dim in enumerate(DIMS))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 150 * number}" y="{height - 8}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", metavar="FILE", help="where to write the plot")
    arguments = parser.parse_args()
    device = torch.cuda.get_device_name()
    results = {dim: measure(dim) for dim in DIMS}
    print(f"TB/s, {device}\n{'dim':>8}" + "".join(f"{name:>12}" for name in COLORS))
    for dim, line in results.items():
        print(f"{dim:>8}" + "".join(f"{line[name]:>12.2f}" for name in COLORS))
    if arguments.plot:
        with open(arguments.plot, "w") as file:
            file.write(plot(results, device))


if __name__ == "__main__":
    main()
