"""Times of the kernels of transformer layers, in bursts and inside a sustained mix, with clock and power.

Run on a machine with two GPUs and PyTorch:
    torchrun --nproc-per-node 2 tests/gpu/torch_mix.py OUT.json
Each row: op, pass, shape, burst_us (median of 60 ms after 20 ms of warm-up) or mix_us (median over the
last half of a mix of at least 4 s). The mix runs every op of one layer, forward, input and weight
gradients, with random data of the spread of real activations and weights.
"""
import json
import os
import subprocess
import sys
import threading
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

RANK = int(os.environ.get("RANK", 0))
torch.cuda.set_device(RANK)
DEV = torch.device("cuda", RANK)
ROWS = []
OUT = sys.argv[1]


def save():
    if RANK == 0:
        with open(OUT + ".tmp", "w") as f:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": ROWS}, f)
        os.replace(OUT + ".tmp", OUT)


def add(**row):
    ROWS.append(row)


def randn(*shape, scale=1.0):
    return torch.randn(*shape, device=DEV, dtype=torch.bfloat16) * scale


def median(values):
    return sorted(values)[len(values) // 2]


def burst(run, budget=0.06):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.time()
    while time.time() - start < 0.02:
        run()
        torch.cuda.synchronize()
    one = torch.cuda.Event(True), torch.cuda.Event(True)
    one[0].record(); run(); one[1].record(); torch.cuda.synchronize()
    count = max(3, min(400, int(budget / max(1e-6, one[0].elapsed_time(one[1]) * 1e-3))))
    marks = [torch.cuda.Event(True) for _ in range(count + 1)]
    marks[0].record()
    for i in range(count):
        run()
        marks[i + 1].record()
    torch.cuda.synchronize()
    return median([marks[i].elapsed_time(marks[i + 1]) * 1e3 for i in range(count)])


def counted(run, count):
    for _ in range(5):
        run()
    dist.barrier()
    marks = [torch.cuda.Event(True) for _ in range(count + 1)]
    marks[0].record()
    for i in range(count):
        run()
        marks[i + 1].record()
    torch.cuda.synchronize()
    return median([marks[i].elapsed_time(marks[i + 1]) * 1e3 for i in range(count)])


class Watch:
    """Clock and power of this GPU while it is open."""

    def __enter__(self):
        self.samples, self.on = [], True
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()
        return self

    def loop(self):
        while self.on:
            text = subprocess.run(["nvidia-smi", "-i", str(RANK), "--query-gpu=clocks.sm,power.draw,temperature.gpu",
                                   "--format=csv,noheader,nounits"], capture_output=True, text=True).stdout
            try:
                self.samples.append([float(x) for x in text.split(",")])
            except ValueError:
                pass
            time.sleep(0.2)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()
        half = self.samples[len(self.samples) // 2:] or [[0, 0, 0]]
        self.clock, self.power, self.heat = (median([s[i] for s in half]) for i in range(3))


def gemm_passes(m, n, k):
    x, w, y = randn(m, k), randn(n, k, scale=0.02), randn(m, n)
    main = torch.zeros(n, k, device=DEV, dtype=torch.float32)
    passes = {"forward": lambda: x @ w.t(), "dgrad": lambda: y @ w, "wgrad": lambda: y.t() @ x}
    try:
        torch.mm(y.t(), x, out_dtype=torch.float32)
        passes["wgrad_fp32"] = lambda: torch.mm(y.t(), x, out_dtype=torch.float32)
    except Exception:
        pass
    passes["wgrad_accumulate"] = lambda: main.add_(y.t() @ x)
    return passes


GEMMS = [(m, n, k) for m in (1024, 2048, 4096, 8192, 16384) for (n, k) in
         ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336),
          (1536, 4096), (4096, 1024), (7168, 4096), (4096, 3584),
          (10240, 8192), (57344, 8192), (8192, 28672), (2560, 8192), (8192, 2048), (14336, 8192), (8192, 7168),
          (5120, 2048), (2048, 4096))]


def gemms():
    for m, n, k in GEMMS:
        for name, run in gemm_passes(m, n, k).items():
            if name == "wgrad_accumulate" and m != 8192:
                continue
            add(op="gemm", m=m, n=n, k=k, kind=name, burst_us=burst(run))
        torch.cuda.empty_cache()
    save()


def attention(batch, heads, kv, seq, dim):
    q, k, v = (randn(batch, h, seq, dim).requires_grad_() for h in (heads, kv, kv))
    g = randn(batch, heads, seq, dim)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    out = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        with sdpa_kernel(backend):
            forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv != heads)
            try:
                f = burst(forward)
            except RuntimeError:
                continue
            def both():
                forward().backward(g)
            out[backend.name] = (f, burst(both) - f)
    return out


def attentions():
    for shape in ((2, 32, 32, 2048, 128), (2, 32, 8, 4096, 128), (1, 32, 8, 8192, 128), (1, 8, 8, 4096, 128),
                  (4, 16, 16, 2048, 128), (2, 32, 32, 4096, 64), (4, 32, 8, 2048, 64), (1, 64, 8, 4096, 128),
                  (1, 32, 8, 16384, 128), (8, 32, 32, 1024, 128)):
        try:
            for name, (f, b) in attention(*shape).items():
                batch, heads, kv, seq, dim = shape
                add(op="attention", kernel=name, batch=batch, heads=heads, kv=kv, seq=seq, dim=dim, forward_us=f, backward_us=b)
        except Exception as error:
            add(op="attention", shape=list(shape), error=str(error)[:100])
    save()


def elementwise():
    for rows, width in ((1024, 4096), (4096, 4096), (8192, 4096), (8192, 8192), (16384, 14336)):
        x, y, w = randn(rows, width), randn(rows, width), randn(width)
        gate_up = randn(rows, 2 * width)
        eager = {"add": (lambda: x + y, 3), "copy": (lambda: x.clone(), 2)}
        swiglu = torch.compile(lambda z: F.silu(z[:, :width]) * z[:, width:], dynamic=False)
        norm = torch.compile(lambda a: F.rms_norm(a, (width,), w), dynamic=False)
        eager["swiglu"] = (lambda: swiglu(gate_up), 3)
        eager["rms_norm"] = (lambda: norm(x), 2)
        eager["rms_norm_eager"] = (lambda: F.rms_norm(x, (width,), w), 2)
        for name, (run, passes) in eager.items():
            add(op="elementwise", name=name, rows=rows, width=width, bytes=passes * rows * width * 2, burst_us=burst(run))
    save()


def host_costs():
    """Microseconds of the host per call where the device is never the limit."""
    x, w = randn(8, 64), randn(64, 64)
    layer = torch.nn.Linear(64, 64, device=DEV, dtype=torch.bfloat16)
    calls = {"add": lambda: x + x, "mm": lambda: x @ w, "linear_module": lambda: layer(x),
             "rms_norm": lambda: F.rms_norm(x, (64,)), "chunk_silu_mul": lambda: F.silu(x) * x}
    for name, run in calls.items():
        for _ in range(200):
            run()
        torch.cuda.synchronize()
        start = time.time()
        for _ in range(2000):
            run()
        issued = time.time() - start
        torch.cuda.synchronize()
        add(op="host", name=name, us=issued / 2000 * 1e6)
    start = time.time()
    for _ in range(500):
        x.sum().item()
    add(op="host", name="item_round_trip", us=(time.time() - start) / 500 * 1e6)
    save()


def mix(name, tokens, hidden, ffn, qkv, heads, kv, dim, seq, seconds=5.0):
    """Every op of a layer in order for `seconds`; events around each op in the last passes."""
    gemm = {"qkv": (qkv, hidden), "out": (hidden, heads * dim), "up": (2 * ffn, hidden), "down": (hidden, ffn)}
    layers = 4  # rotating weights, larger than L2
    x = {k: randn(tokens, kk) for k, (nn, kk) in gemm.items()}
    y = {k: randn(tokens, nn) for k, (nn, kk) in gemm.items()}
    w = [{k: randn(nn, kk, scale=0.02) for k, (nn, kk) in gemm.items()} for _ in range(layers)]
    q, kk_, v = (randn(tokens // seq, h, seq, dim).requires_grad_() for h in (heads, kv, kv))
    g = randn(tokens // seq, heads, seq, dim)
    res = randn(tokens, hidden)
    wide = randn(tokens, 2 * ffn)
    swiglu = torch.compile(lambda z: F.silu(z[:, :ffn]) * z[:, ffn:], dynamic=False)
    norm = torch.compile(lambda a: F.rms_norm(a, (hidden,)), dynamic=False)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def ops(i):
        weights = w[i % layers]
        yield "norm", lambda: norm(res)
        yield "qkv forward", lambda: x["qkv"] @ weights["qkv"].t()
        yield "attention forward+backward", attend
        yield "out forward", lambda: x["out"] @ weights["out"].t()
        yield "add", lambda: res + res
        yield "norm", lambda: norm(res)
        yield "up forward", lambda: x["up"] @ weights["up"].t()
        yield "swiglu", lambda: swiglu(wide)
        yield "down forward", lambda: x["down"] @ weights["down"].t()
        for key in ("down", "up", "out", "qkv"):
            yield key + " dgrad", lambda key=key: y[key] @ weights[key]
            yield key + " wgrad", lambda key=key: y[key].t() @ x[key]

    def attend():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            F.scaled_dot_product_attention(q, kk_, v, is_causal=True, enable_gqa=kv != heads).backward(g)

    alone = {}
    for label, run in ops(0):
        if label not in alone:
            alone[label] = burst(run)
    if RANK == 0 or True:
        dist.barrier()
    with Watch() as watch:
        start, i = time.time(), 0
        times = {}
        while time.time() - start < seconds:
            late = time.time() - start > seconds / 2
            marks = []
            for label, run in ops(i):
                a, b = torch.cuda.Event(True), torch.cuda.Event(True)
                a.record(); run(); b.record()
                marks.append((label, a, b))
            i += 1
            if i % 4 == 0:
                torch.cuda.synchronize()
            if late and i % 4 == 0:
                for label, a, b in marks:
                    times.setdefault(label, []).append(a.elapsed_time(b) * 1e3)
    for label, values in times.items():
        add(op="mix", mix=name, name=label, tokens=tokens, burst_us=alone[label], mix_us=median(values),
            clock_mhz=watch.clock, power_w=watch.power, heat_c=watch.heat)
    save()


def interference():
    """A GEMM loop and a collective loop, alone and at once."""
    a, b = randn(8192, 4096), randn(28672, 4096, scale=0.02)
    side = torch.cuda.Stream()
    for kind in ("all_gather", "reduce_scatter"):
        for size in (16 << 20, 64 << 20, 256 << 20):
            whole = torch.empty(size // 2, device=DEV, dtype=torch.bfloat16)
            part = torch.empty(size // 4, device=DEV, dtype=torch.bfloat16)
            def collective():
                if kind == "all_gather":
                    dist.all_gather_into_tensor(whole, part)
                else:
                    dist.reduce_scatter_tensor(part, whole)
            gemm = lambda: a @ b.t()
            # Fixed counts: ranks that chose their own would wait for each other for ever.
            alone_c = counted(collective, 40)
            alone_g = counted(gemm, 40)
            n_c, n_g = (400, 100) if size < (128 << 20) else (160, 100)
            side.wait_stream(torch.cuda.current_stream())
            ec = [torch.cuda.Event(True) for _ in range(2)]
            eg = [torch.cuda.Event(True) for _ in range(n_g + 1)]
            with torch.cuda.stream(side):
                ec[0].record()
                for _ in range(n_c):
                    collective()
                ec[1].record()
            eg[0].record()
            for i in range(n_g):
                gemm()
                eg[i + 1].record()
            torch.cuda.synchronize()
            both_c = ec[0].elapsed_time(ec[1]) * 1e3 / n_c
            first = [eg[i].elapsed_time(eg[i + 1]) * 1e3 for i in range(n_g // 2)]
            add(op="interference", collective=kind, bytes=size, collective_alone_us=alone_c, collective_both_us=both_c,
                gemm_alone_us=alone_g, gemm_both_us=median(first))
            save()


def step(name, part):
    start = time.time()
    try:
        part()
    except Exception as error:  # one part must not lose the others
        add(op="failed", name=name, error=str(error)[:200])
    if RANK == 0:
        print(name, round(time.time() - start, 1), "s", flush=True)
    save()


if __name__ == "__main__":
    dist.init_process_group("nccl", device_id=DEV)
    step("host", host_costs)
    step("mix 8b", lambda: mix("llama-8b", 8192, 4096, 14336, 6144, 32, 8, 128, 8192))
    step("mix 13b", lambda: mix("llama-13b", 4096, 5120, 13824, 15360, 40, 40, 128, 2048))
    step("mix 70b tp4", lambda: mix("llama-70b-tp4", 8192, 8192, 7168, 2560, 16, 2, 128, 8192))
    step("elementwise", elementwise)
    step("attention", attentions)
    step("gemm", gemms)
    step("interference", interference)
    dist.destroy_process_group()
