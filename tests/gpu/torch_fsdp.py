"""What FSDP costs beside compute, collectives beside GEMMs, and fp8 GEMMs under load.

Run on a machine with two GPUs and PyTorch, all parts; or with one GPU that plays a rank of eight, whose collectives
are copies by 24 blocks on a stream of their own (as NCCL's kernels hold SMs and memory, without a link):
    torchrun --nproc-per-node 2 tests/gpu/torch_fsdp.py OUT.json [steps] [beside] [fp8] [optimizer]
    python3 tests/gpu/torch_fsdp.py OUT.json steps optimizer
Rows: step (wall time of forward and backward, and of it the sums of kernels by class, on the compute stream and
beside it), beside (one collective of `bytes` issued in the middle of a queue of GEMMs), fp8 (median of an op inside
a sustained mix). Counts are fixed: ranks that chose their own would wait for each other for ever.
"""
import json
import os
import subprocess
import sys
import threading
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

RANK = int(os.environ.get("RANK", 0))
torch.cuda.set_device(RANK)
DEV = torch.device("cuda", RANK)
ROWS = []
OUT = sys.argv[1]


def add(**row):
    ROWS.append(row)
    if RANK == 0:
        with open(OUT + ".tmp", "w") as f:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                       "nccl": ".".join(map(str, torch.cuda.nccl.version())), "rows": ROWS}, f)
        os.replace(OUT + ".tmp", OUT)


def median(values):
    return sorted(values)[len(values) // 2]


def smi():
    text = subprocess.run(["nvidia-smi", "-i", str(RANK), "--query-gpu=clocks.sm,power.draw",
                           "--format=csv,noheader,nounits"], capture_output=True, text=True).stdout
    try:
        return [float(x) for x in text.split(",")]
    except ValueError:
        return [0.0, 0.0]


class Watch:
    """Clock and power of this GPU while it is open."""

    def __enter__(self):
        self.samples, self.on = [], True
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()
        return self

    def loop(self):
        while self.on:
            self.samples.append(smi())
            time.sleep(0.15)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()
        half = self.samples[len(self.samples) // 2:] or [[0, 0]]
        self.clock, self.power = (median([s[i] for s in half]) for i in range(2))


class Mpt(nn.Module):
    """A block of MPT: LayerNorm, one projection for q, k and v, GELU of 4 x hidden, no biases."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden, bias=False), nn.LayerNorm(hidden, bias=False)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.up, self.down = nn.Linear(hidden, 4 * hidden, bias=False), nn.Linear(4 * hidden, hidden, bias=False)

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, h)
        x = x + self.out(a)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Llama(nn.Module):
    def __init__(self, hidden, heads, kv=8, ffn=14336):
        super().__init__()
        self.heads, self.kv, dim = heads, kv, hidden // heads
        self.norm1, self.norm2 = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.q, self.out = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.k, self.v = (nn.Linear(hidden, kv * dim, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(hidden, ffn, bias=False) for _ in range(2))
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x):
        b, s, h = x.shape
        y = self.norm1(x)
        q = self.q(y).view(b, s, self.heads, -1).transpose(1, 2)
        k, v = (p(y).view(b, s, self.kv, -1).transpose(1, 2).repeat_interleave(self.heads // self.kv, 1)
                for p in (self.k, self.v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, h)
        x = x + self.out(a)
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Stack(nn.Module):
    def __init__(self, block, layers):
        super().__init__()
        self.layers = nn.ModuleList(block() for _ in range(layers))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


ALONE = "RANK" not in os.environ
ALL_GATHER, REDUCE_SCATTER = dist.all_gather_into_tensor, dist.reduce_scatter_tensor


def played():
    """Collectives of a rank of eight on one GPU: 24 blocks read and write what NCCL's would."""
    import triton
    import triton.language as tl

    @triton.jit
    def spread(out, inp, n, whole, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK
        while at < whole:
            index = at + tl.arange(0, BLOCK)
            tl.store(out + index, tl.load(inp + index % n, mask=index < whole), mask=index < whole)
            at += tl.num_programs(0) * BLOCK

    @triton.jit
    def add_up(out, inp, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK
        while at < n:
            index = at + tl.arange(0, BLOCK)
            total = tl.zeros((BLOCK,), tl.float32)
            for part in range(8):
                total += tl.load(inp + part * n + index, mask=index < n).to(tl.float32)
            tl.store(out + index, total.to(out.dtype.element_ty), mask=index < n)
            at += tl.num_programs(0) * BLOCK

    stream = torch.cuda.Stream()

    def on_stream(launch):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            launch()
        torch.cuda.current_stream().wait_stream(stream)

    def gather(output_tensor, input_tensor, group=None, async_op=False):
        on_stream(lambda: spread[(24,)](output_tensor, input_tensor, input_tensor.numel(),
                                         output_tensor.numel(), BLOCK=8192, num_warps=16))

    def reduce(output, input, op=None, group=None, async_op=False):
        on_stream(lambda: add_up[(24,)](output, input, output.numel(), BLOCK=4096, num_warps=16))

    return gather, reduce


PLAYED = None


def own_stream(on):
    """NCCL's own stream of normal priority, as before PyTorch 2.8, or the caller's stream."""
    global PLAYED
    if ALONE:
        PLAYED = PLAYED or played()
        dist.all_gather_into_tensor, dist.reduce_scatter_tensor = PLAYED
        return

    def gather(output_tensor, input_tensor, group=None, async_op=False):
        work = ALL_GATHER(output_tensor, input_tensor, group=group, async_op=True)
        return work if async_op else work.wait()

    def reduce(output, input, op=dist.ReduceOp.SUM, group=None, async_op=False):
        work = REDUCE_SCATTER(output, input, op=op, group=group, async_op=True)
        return work if async_op else work.wait()

    dist.all_gather_into_tensor = gather if on else ALL_GATHER
    dist.reduce_scatter_tensor = reduce if on else REDUCE_SCATTER


def wrap(model, kind, checkpoint):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
    if checkpoint:
        for i, layer in enumerate(model.layers):
            model.layers[i] = checkpoint_wrapper(layer)
    if kind.startswith("fsdp1"):
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, MixedPrecision, BackwardPrefetch
        low = torch.bfloat16
        reduce = torch.float32 if "fp32" in kind else low
        post = BackwardPrefetch.BACKWARD_POST if "post" in kind else BackwardPrefetch.BACKWARD_PRE
        options = dict(mixed_precision=MixedPrecision(param_dtype=low, reduce_dtype=reduce, buffer_dtype=low),
                       limit_all_gathers=True, use_orig_params=True, device_id=DEV, backward_prefetch=post)
        for i, layer in enumerate(model.layers):
            model.layers[i] = FSDP(layer, **options)
        return FSDP(model, **options)
    if kind.startswith("fsdp2"):
        from torch.distributed.fsdp import fully_shard, MixedPrecisionPolicy
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for layer in model.layers:
            fully_shard(layer, mp_policy=policy)
        fully_shard(model, mp_policy=policy)
        return model
    return model.to(torch.bfloat16)


def class_of(name):
    low = name.lower()
    for key, words in (("gather", ("allgather", "spread")), ("reduce", ("reducescatter", "add_up")), ("gemm", ("gemm", "nvjet", "cutlass_80", "xmma")),
                       ("attention", ("flash", "fmha", "cudnn")), ("copy", ("memcpy", "memset")), ("cat", ("cat", "split", "chunk")),
                       ("norm", ("norm",))):
        if any(w in low for w in words):
            return key
    return "elementwise"


def kernels(profile, steps):
    """Microseconds per step by class on the compute stream and beside it; the busiest kernels."""
    events = [e for e in profile.profiler.kineto_results.events() if "cuda" in str(e.device_type()).lower()
              and e.duration_ns() > 0 and "annotation" not in e.name().lower() and not e.name().startswith(("nccl:", "FSDP", "ProfilerStep"))]
    gemms = {}
    for e in events:
        if class_of(e.name()) == "gemm":
            gemms[e.device_resource_id()] = gemms.get(e.device_resource_id(), 0) + e.duration_ns()
    compute = max(gemms, key=gemms.get)
    on, beside, top, spans = {}, {}, {}, []
    for e in events:
        where = on if e.device_resource_id() == compute else beside
        us = e.duration_ns() / 1e3 / steps
        where[class_of(e.name())] = round(where.get(class_of(e.name()), 0) + us, 1)
        if where is on:
            spans.append((e.start_ns(), e.start_ns() + e.duration_ns()))
        key = (e.device_resource_id() == compute, e.name()[:110])
        n, t = top.get(key, (0, 0))
        top[key] = (n + 1, t + us)
    busiest = sorted(top.items(), key=lambda kv: -kv[1][1])[:22]
    return on, beside, sum(b - a for a, b in spans) / 1e3 / steps, \
        [[k[0], k[1], round(n / steps, 1), round(t, 1)] for k, (n, t) in busiest]


def step(shape, kind, layers, batch, seq, checkpoint=False):
    name, block, hidden = shape
    own_stream("own" in kind)
    torch.manual_seed(0)
    with torch.device(DEV):
        model = Stack(block, layers)
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.02)
    params = sum(p.numel() for p in model.parameters())
    model = wrap(model, kind, checkpoint)
    x = torch.randn(batch, seq, hidden, device=DEV, dtype=torch.bfloat16)
    g = torch.randn(batch, seq, hidden, device=DEV, dtype=torch.bfloat16) * 1e-3

    def once():
        model(x.clone().requires_grad_()).backward(g)
        model.zero_grad(set_to_none=True)

    for _ in range(4):
        once()
    torch.cuda.synchronize(); dist.barrier(); torch.cuda.synchronize()
    count = 12
    marks = [torch.cuda.Event(True) for _ in range(count + 1)]
    marks[0].record()
    start = time.time()
    for i in range(count):
        once()
        marks[i + 1].record()
    host = (time.time() - start) / count
    torch.cuda.synchronize()
    wall = median([marks[i].elapsed_time(marks[i + 1]) * 1e3 for i in range(count)])
    after = smi()
    from torch.profiler import ProfilerActivity, profile
    dist.barrier()
    with profile(activities=[ProfilerActivity.CUDA]) as p:
        for _ in range(3):
            once()
        torch.cuda.synchronize()
    on, beside, busy, top = kernels(p, 3)
    add(op="step", model=name, kind=kind, layers=layers, batch=batch, seq=seq, checkpoint=checkpoint, params=params,
        wall_us=round(wall, 1), host_us=round(host * 1e6, 1), busy_us=round(busy, 1), on=on, beside=beside, top=top,
        clock_mhz=after[0], power_w=after[1])
    if RANK == 0:
        print(name, kind, batch, round(wall), on, beside, flush=True)
    del model, x, g
    torch.cuda.empty_cache()


MPT13 = ("mpt-13b", lambda: Mpt(5120, 40), 5120)
MPT30 = ("mpt-30b", lambda: Mpt(7168, 56), 7168)
LLAMA8 = ("llama-8b", lambda: Llama(4096, 32), 4096)


def steps():
    runs = [(MPT13, kind, 6, 2, 2048) for kind in
            ("plain", "fsdp1-fp32-own", "fsdp1-fp32-own-post", "fsdp1-bf16-own", "fsdp2-fp32-own")]
    runs += [(MPT13, kind, 6, 8, 2048) for kind in ("plain", "fsdp1-fp32-own")]
    runs += [(MPT30, kind, 4, 3, 2048, True) for kind in ("plain", "fsdp1-fp32-own")]
    runs += [(LLAMA8, kind, 8, 2, 8192) for kind in ("plain", "fsdp2-fp32-own")]
    runs += [(LLAMA8, kind, 8, 1, 4096) for kind in ("plain", "fsdp2-fp32-own")]
    for run in runs:
        part(" ".join(map(str, (run[0][0],) + run[1:])), lambda: step(*run))


def beside():
    """One collective in the middle of a queue of GEMMs: when it ends, and how much later the GEMMs end."""
    def randn(*shape):
        return torch.randn(*shape, device=DEV, dtype=torch.bfloat16)
    high = torch.cuda.Stream(priority=-1)
    plain = torch.cuda.Stream()
    for m, n, k in ((4096, 5120, 5120), (4096, 15360, 5120), (16384, 20480, 5120), (8192, 28672, 4096)):
        a, b = randn(m, k), randn(n, k)
        count = max(8, int(40e12 / (2.0 * m * n * k)))
        for size in (64 << 20, 256 << 20, 1 << 30):
            whole, part = randn(size // 2), randn(size // 4)
            for kind in ("all_gather", "reduce_scatter"):
                for stream, label in ((plain, "normal"), (high, "high")):
                    times, totals, alone, quiet = [], [], [], []
                    for rep in range(9):
                        for loaded in (True, False):
                            e = [torch.cuda.Event(True) for _ in range(4)]
                            torch.cuda.synchronize(); dist.barrier(); torch.cuda.synchronize()
                            e[0].record()
                            for i in range(count):
                                if i == count // 3 and loaded:
                                    e[2].record()
                                    with torch.cuda.stream(stream):
                                        stream.wait_event(e[2])
                                        (ALL_GATHER if kind == "all_gather" else REDUCE_SCATTER)(
                                            *((whole, part) if kind == "all_gather" else (part, whole)))
                                        e[3].record()
                                a @ b.t()
                            e[1].record()
                            torch.cuda.synchronize()
                            (totals if loaded else alone).append(e[0].elapsed_time(e[1]) * 1e3)
                            if loaded:
                                times.append(e[2].elapsed_time(e[3]) * 1e3)
                        dist.barrier(); torch.cuda.synchronize()
                        e = [torch.cuda.Event(True) for _ in range(2)]
                        with torch.cuda.stream(stream):
                            e[0].record()
                            (ALL_GATHER if kind == "all_gather" else REDUCE_SCATTER)(
                                *((whole, part) if kind == "all_gather" else (part, whole)))
                            e[1].record()
                        torch.cuda.synchronize()
                        quiet.append(e[0].elapsed_time(e[1]) * 1e3)
                    add(op="beside", m=m, n=n, k=k, gemms=count, collective=kind, bytes=size, priority=label,
                        alone_us=round(median(quiet), 1), beside_us=round(median(times), 1),
                        gemms_alone_us=round(median(alone), 1), gemms_beside_us=round(median(totals), 1))


def fp8():
    shapes = {"llama-8b": (8192, ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336))),
              "gpt3-175b-tp4": (4096, ((9216, 12288), (12288, 3072), (12288, 12288)))}
    one = torch.tensor(1.0, device=DEV)

    def low(rows, cols, kind=torch.float8_e4m3fn):
        return torch.randn(rows, cols, device=DEV, dtype=torch.bfloat16).to(kind)

    def ops(m, n, k, mode):
        grad = torch.float8_e5m2
        for name, (r, c, d), kinds, fast in (("forward", (m, n, k), (torch.float8_e4m3fn,) * 2, True),
                                             ("dgrad", (m, k, n), (grad, torch.float8_e4m3fn), False),
                                             ("wgrad", (k, n, m), (torch.float8_e4m3fn, grad), False)):
            if mode == "bf16":
                a, b = (torch.randn(x, d, device=DEV, dtype=torch.bfloat16) for x in (r, c))
                yield name, (lambda a=a, b=b: a @ b.t())
            else:
                a, b = low(r, d, kinds[0]), low(c, d, kinds[1])
                yield name, (lambda a=a, b=b, f=(fast or mode == "fp8-fast"): torch._scaled_mm(
                    a, b.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=f))

    for model, (m, sizes) in shapes.items():
        for mode in ("bf16", "fp8", "fp8-fast"):
            all_ops = [(n, k, name, run) for n, k in sizes for name, run in ops(m, n, k, mode)]
            first, last = {}, {}
            with Watch() as watch:
                torch.cuda.synchronize()
                start = time.time()
                while time.time() - start < 3.5:
                    marks = [torch.cuda.Event(True) for _ in range(len(all_ops) + 1)]
                    marks[0].record()
                    for i, (_, _, _, run) in enumerate(all_ops):
                        run()
                        marks[i + 1].record()
                    torch.cuda.synchronize()
                    into = last if time.time() - start > 1.7 else first
                    for i, (n, k, name, _) in enumerate(all_ops):
                        into.setdefault((n, k, name), []).append(marks[i].elapsed_time(marks[i + 1]) * 1e3)
            for (n, k, name), values in last.items():
                add(op="fp8", model=model, mode=mode, kind=name, m=m, n=n, k=k, us=round(median(values), 1),
                    clock_mhz=watch.clock, power_w=watch.power)
    x = torch.randn(8192, 14336, device=DEV, dtype=torch.bfloat16)
    for name, run in (("cast", lambda: x.to(torch.float8_e4m3fn)), ("amax", lambda: x.abs().max())):
        for _ in range(5):
            run()
        e = [torch.cuda.Event(True) for _ in range(2)]
        e[0].record()
        for _ in range(20):
            run()
        e[1].record()
        torch.cuda.synchronize()
        add(op="cast", name=name, rows=8192, width=14336, us=round(e[0].elapsed_time(e[1]) * 50, 1))


def optimizer():
    """Adam with one kernel per operator and the step read back for every parameter, as Composer's."""
    params = [[torch.randn(3 << 20, device=DEV) for _ in range(4)] for _ in range(60)]
    counts = [torch.zeros((), device=DEV) for _ in params]

    def once():
        for c in counts:
            c += 1
        for (p, g, m, v), c in zip(params, counts):
            step = c.item()
            p.mul_(1 - 1e-8)
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.95).addcmul_(g, g, value=0.05)
            p.addcdiv_(m, (v.sqrt() / (1 - 0.95 ** step) ** 0.5).add_(1e-8), value=-1e-4)

    once(); torch.cuda.synchronize()
    start = time.time()
    for _ in range(5):
        once()
    torch.cuda.synchronize()
    add(op="optimizer", tensors=len(params), elements=len(params) * (3 << 20), us=round((time.time() - start) / 5 * 1e6, 1))


def part(name, run):
    start = time.time()
    try:
        run()
    except Exception as error:  # one part must not lose the others
        add(op="failed", name=name, error=repr(error)[:300])
        print("FAILED", name, repr(error)[:300], flush=True)
    if RANK == 0:
        print(name, round(time.time() - start, 1), "s", flush=True)


if __name__ == "__main__":
    if ALONE:
        from torch.testing._internal.distributed.fake_pg import FakeStore
        dist.init_process_group("fake", rank=0, world_size=8, store=FakeStore())
        dist.barrier = lambda *_, **__: None
    else:
        dist.init_process_group("nccl", device_id=DEV)
    for name, run in (("steps", steps), ("beside", beside), ("fp8", fp8), ("optimizer", optimizer)):
        if name in sys.argv[2:] or len(sys.argv) == 2:
            part(name, run)
    dist.destroy_process_group()
