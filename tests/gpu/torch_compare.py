"""Our kernels and collectives beside PyTorch's on the same GPUs in the same minutes, case by case in turns.

    python3 tests/gpu/torch_compare.py PROGRAM OUT.jsonl gemm attention
    torchrun --nproc-per-node 2 tests/gpu/torch_compare.py PROGRAM OUT.jsonl exchanges
PROGRAM is trainwright-calibrate-gpu, run with --serve (of exchanges: under mpirun). Each case is measured
ours, theirs, ours, theirs, with the same warm-up, batches and rotating operands; a row holds the medians
of both turns and their ratio, ours over theirs. The last lines are geometric means. grouped sets our
product per expert beside torch._grouped_mm; flash has PyTorch's FlashAttention-2 alone.
"""
import json
import math
import os
import subprocess
import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
DEVICE = int(os.environ.get("COMPARE_DEVICE", RANK))
torch.cuda.set_device(DEVICE)
L2 = torch.cuda.get_device_properties(DEVICE).L2_cache_size
PROGRAM, OUT, FAMILIES = sys.argv[1], sys.argv[2], sys.argv[3:]


def rotating(make, set_bytes):
    return [make() for _ in range(max(2, min(64, 1 + 2 * L2 // max(1, set_bytes))))]


def randn(*shape, scale=1.0):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16) * scale


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def agree(value):
    if WORLD == 1:
        return value
    box = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(box, 0, group=CPU)
    return box.item()


def slowest(values):
    if WORLD == 1:
        return values
    box = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(box, dist.ReduceOp.MAX, group=CPU)
    return box.tolist()


def burst(run, warm=0.02 if "exchanges" in FAMILIES else 0.12, seconds=0.06):
    turn = 0

    def timed(count):
        nonlocal turn
        a, b = torch.cuda.Event(True), torch.cuda.Event(True)
        a.record()
        for _ in range(count):
            run(turn)
            turn += 1
        b.record()
        torch.cuda.synchronize()
        return a.elapsed_time(b) * 1e-3

    timed(3)
    each = agree(max(1e-6, timed(3) / 3))
    timed(max(1, min(20000, round(warm / each))))
    per_batch = max(1, round(1e-3 / each))
    count = max(7, min(60, round(seconds / each / per_batch)))
    if WORLD > 1:
        dist.barrier(group=CPU)
    marks = [torch.cuda.Event(True) for _ in range(count + 1)]
    marks[0].record()
    for b in range(count):
        for _ in range(per_batch):
            run(turn)
            turn += 1
        marks[b + 1].record()
    torch.cuda.synchronize()
    return median(slowest([marks[i].elapsed_time(marks[i + 1]) * 1e3 / per_batch for i in range(count)]))


class Ours:
    def __init__(self):
        command = [PROGRAM, "--serve", "--device", str(DEVICE)]
        if WORLD > 1:
            command = ["mpirun", "--allow-run-as-root", "--bind-to", "none", "-np", str(WORLD)] + command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.machine = json.loads(self.process.stdout.readline())

    def time(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        row = json.loads(self.process.stdout.readline())
        return median(row["us"]) if row.get("us") else float("nan")


def gemm(op, m, n, k):
    size = 2 * (m * k + n * k + m * n)
    x, w, y = (lambda: randn(m, k)), (lambda: randn(n, k, scale=0.02)), (lambda: randn(m, n, scale=0.01))
    left, right = {"gemm": (x, w), "gemm_dgrad": (y, w), "gemm_wgrad": (y, x)}[op]
    a, b = rotating(left, size), rotating(right, size)
    if op == "gemm":
        return lambda i: F.linear(a[i % len(a)], b[i % len(b)])
    if op == "gemm_dgrad":
        return lambda i: a[i % len(a)] @ b[i % len(b)]
    return lambda i: a[i % len(a)].t() @ b[i % len(b)]


def attention(op, batch, heads, kv_heads, length, dim):
    def make(h):
        return randn(batch, length, h, dim).transpose(1, 2).requires_grad_(op.endswith("backward"))
    size = 2 * batch * length * dim * (2 * heads + 2 * kv_heads)
    sets = rotating(lambda: (make(heads), make(kv_heads), make(kv_heads)), size)

    def forward(i):
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION if op.startswith("flash") else SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(*sets[i % len(sets)], is_causal=True, enable_gqa=heads != kv_heads)
    if op.endswith("forward"):
        return forward
    outs = [forward(i) for i in range(len(sets))]
    grad = randn(batch, length, heads, dim).transpose(1, 2)
    return lambda i: torch.autograd.grad(outs[i % len(sets)], sets[i % len(sets)], grad, retain_graph=True)


def grouped(op, experts, rows, n, k):
    size = 2 * experts * (rows * k + n * k + rows * n)
    offsets = torch.arange(1, experts + 1, device="cuda", dtype=torch.int32) * rows
    x, w = (lambda: randn(experts * rows, k)), (lambda: randn(experts, n, k, scale=0.02))
    dy = lambda: randn(experts * rows, n, scale=0.01)
    if op == "looped_gemm":
        a, b = rotating(x, size), rotating(w, size)
        return lambda i: torch._grouped_mm(a[i % len(a)], b[i % len(b)].transpose(-2, -1), offs=offsets)
    if op == "looped_gemm_dgrad":
        a, b = rotating(dy, size), rotating(w, size)
        return lambda i: torch._grouped_mm(a[i % len(a)], b[i % len(b)], offs=offsets)
    a, b = rotating(dy, size), rotating(x, size)
    return lambda i: torch._grouped_mm(a[i % len(a)].transpose(-2, -1), b[i % len(b)], offs=offsets)


def exchange(op, size, ranks):
    count = size // 2
    a, b = rotating(lambda: randn(count), 2 * size), rotating(lambda: randn(count), 2 * size)
    part = count // ranks
    if op == "all_reduce":
        return lambda i: dist.all_reduce(a[i % len(a)])
    if op == "all_gather":
        return lambda i: dist.all_gather_into_tensor(b[i % len(b)], a[i % len(a)][:part])
    if op == "reduce_scatter":
        return lambda i: dist.reduce_scatter_tensor(b[i % len(b)][:part], a[i % len(a)])
    if op == "all_to_all":
        return lambda i: dist.all_to_all_single(b[i % len(b)], a[i % len(a)])
    if RANK == 0:
        return lambda i: dist.send(a[i % len(a)], ranks - 1)
    return lambda i: dist.recv(b[i % len(b)], 0) if RANK == ranks - 1 else None


GEMMS = [(2048, 4096, 4096), (8192, 4096, 4096), (4096, 6144, 4096), (8192, 28672, 4096), (8192, 4096, 14336),
         (2048, 8192, 8192), (8192, 10240, 8192), (4096, 57344, 8192), (4096, 8192, 28672), (2048, 1536, 2048),
         (8192, 1536, 2048), (8192, 7168, 2048), (2048, 4096, 7168), (4096, 2880, 4096), (4096, 5120, 640),
         (512, 28672, 4096), (512, 4096, 14336), (1024, 6144, 6144), (16384, 12288, 4096), (4096, 128256, 4096)]
ATTENTIONS = [(1, 32, 8, 2048, 128), (1, 32, 8, 8192, 128), (1, 64, 8, 4096, 128), (4, 16, 16, 2048, 128),
              (1, 8, 1, 16384, 128), (4, 32, 8, 2048, 64), (1, 64, 8, 8192, 64), (8, 16, 16, 1024, 64)]

GROUPS = [(8, 256, 4096, 4096), (8, 512, 4096, 4096), (8, 1024, 4096, 4096), (8, 2048, 4096, 4096),
          (16, 64, 3072, 2048), (16, 128, 3072, 2048), (16, 256, 3072, 2048), (16, 512, 3072, 2048),
          (16, 1024, 3072, 2048), (16, 512, 2048, 1536), (32, 128, 4096, 6144), (32, 256, 4096, 6144),
          (32, 512, 4096, 6144), (64, 128, 2048, 2048), (64, 256, 2048, 2048), (64, 512, 2048, 2048),
          (128, 64, 1024, 2048), (128, 256, 1024, 2048), (8, 1024, 16384, 4096), (8, 1024, 4096, 16384),
          (4, 2048, 8192, 4096), (8, 1024, 28672, 4096), (8, 512, 4096, 14336), (2, 2048, 32768, 6144),
          (16, 512, 1536, 2048), (16, 1024, 2048, 768), (32, 256, 4096, 7168), (32, 512, 7168, 2048),
          (64, 256, 2048, 1024), (8, 1024, 5120, 3584)]


def cases():
    if "gemm" in FAMILIES:
        for op in ("gemm", "gemm_dgrad", "gemm_wgrad"):
            for shape in GEMMS:
                yield op, shape, gemm
    if "attention" in FAMILIES:
        for op in ("cudnn_forward", "cudnn_backward"):
            for shape in ATTENTIONS:
                yield op, shape, attention
    if "grouped" in FAMILIES:
        for op in ("looped_gemm", "looped_gemm_dgrad", "looped_gemm_wgrad"):
            for shape in GROUPS:
                yield op, shape, grouped
    if "flash" in FAMILIES:
        for op in ("flash2_forward", "flash2_backward"):
            for shape in ATTENTIONS:
                yield op, shape, attention
    if "exchanges" in FAMILIES:
        for op in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"):
            for bits in (12, 16, 20, 22, 24, 26, 28, 30):
                yield op, (1 << bits, WORLD), exchange


def main():
    global CPU
    if WORLD > 1:
        dist.init_process_group("nccl", device_id=torch.device("cuda", DEVICE))
        CPU = dist.new_group(backend="gloo")
    ours, groups = None, {}
    if RANK == 0:
        ours = Ours()
        out = open(OUT, "w")
        out.write(json.dumps({"torch": torch.__version__, "ours": ours.machine}) + "\n")
    for op, shape, build in cases():
        mine, theirs = [], []
        run = build(op, *shape)
        for _ in range(2):
            if op.startswith("flash"):
                mine.append(float("nan"))
            elif RANK == 0:
                mine.append(ours.time(" ".join(map(str, (op,) + shape))))
            if WORLD > 1:
                dist.barrier(group=CPU)
            theirs.append(burst(run))
        del run
        torch.cuda.empty_cache()
        if RANK != 0:
            continue
        ratio = math.sqrt(mine[0] * mine[1] / theirs[0] / theirs[1])
        out.write(json.dumps({"op": op, "shape": shape, "ours_us": mine, "torch_us": theirs, "ratio": round(ratio, 4)}) + "\n")
        out.flush()
        small = build is exchange and shape[0] < 1 << 26
        groups.setdefault(op + (" below 64 MiB" if small else ""), []).append((ratio, shape))
    for name, found in groups.items():
        known = [(r, s) for r, s in found if r == r]
        if not known:
            continue
        mean = math.exp(sum(math.log(r) for r, _ in known) / len(known))
        low, high = min(known), max(known)
        print(f"{name}: {len(known)} of {len(found)} cases, geometric mean {mean:.3f}, "
              f"least {low[0]:.3f} {low[1]}, most {high[0]:.3f} {high[1]}", flush=True)
    if WORLD > 1:
        dist.barrier(group=CPU)
    os._exit(0)


main()
