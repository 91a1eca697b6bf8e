#!/usr/bin/env python3
"""Steps of training in compiled PyTorch, to stand beside those of trainwright-train-gpu.

python3 tests/gpu/torch_train.py OUT.json SHAPE...                                 one GPU
torchrun --nproc-per-node 2 tests/gpu/torch_train.py OUT.json SHAPE:LAYOUT...       two: zero3, tp or ep
SHAPE: 1b, 8b8, qwen30, mixtral2, each with :mbN behind. One micro-batch a step, clipping and AdamW included,
fp32 master weights and moments, bf16 compute, no recompute, cross-entropy on bf16 logits. Median of 8 steps after 5.
TRACE=FOLDER in the environment: two more steps under the PyTorch profiler on rank 0, as FOLDER/SHAPE-LAYOUT.json with
what trainwright check --profile reads: steps, device work, and operators with the sizes of their inputs.
"""
import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
torch.cuda.set_device(RANK)
DEVICE = torch.device("cuda", RANK)
torch._dynamo.config.cache_size_limit = 64

SHAPES = {
    "1b": dict(layers=16, hidden=2048, heads=32, kv=8, dim=64, ffn=8192, vocab=128256, seq=4096),
    "8b8": dict(layers=8, hidden=4096, heads=32, kv=8, dim=128, ffn=14336, vocab=128256, seq=8192),
    "qwen30": dict(layers=6, hidden=2048, heads=32, kv=4, dim=128, ffn=768, vocab=151936, seq=4096, experts=128,
                   chosen=8, qk_norm=True),
    "mixtral2": dict(layers=2, hidden=4096, heads=32, kv=8, dim=128, ffn=14336, vocab=32000, seq=4096, experts=8,
                     chosen=2),
}


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.dim, h = s["dim"], s["hidden"]
        self.norm = nn.RMSNorm(h, eps=1e-6)
        self.q = nn.Linear(h, s["heads"] * self.dim, bias=False)
        self.k = nn.Linear(h, s["kv"] * self.dim, bias=False)
        self.v = nn.Linear(h, s["kv"] * self.dim, bias=False)
        self.out = nn.Linear(s["heads"] * self.dim, h, bias=False)
        own = (lambda: nn.RMSNorm(self.dim, eps=1e-6)) if s.get("qk_norm") else nn.Identity
        self.q_norm, self.k_norm = own(), own()

    def forward(self, x, cos, sin):
        y = self.norm(x)
        q, k, v = (p(y).unflatten(-1, (-1, self.dim)).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = rotate(self.q_norm(q), cos, sin).to(v.dtype), rotate(self.k_norm(k), cos, sin).to(v.dtype)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(a.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.norm = nn.RMSNorm(s["hidden"], eps=1e-6)
        self.gate = nn.Linear(s["hidden"], s["ffn"], bias=False)
        self.up = nn.Linear(s["hidden"], s["ffn"], bias=False)
        self.down = nn.Linear(s["ffn"], s["hidden"], bias=False)

    def forward(self, x):
        y = self.norm(x)
        return self.down(F.silu(self.gate(y)) * self.up(y))


@torch.compile
def weighted_swiglu(gate_up, weight):
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up * weight.unsqueeze(-1).to(gate.dtype)


class Experts(nn.Module):
    """Dropless top-k routing; experts cut over the ranks, grouped_mm on each."""

    def __init__(self, s):
        super().__init__()
        self.experts, self.chosen, self.local = s["experts"], s["chosen"], s["experts"] // WORLD
        h, f = s["hidden"], s["ffn"]
        self.norm, self.router = nn.RMSNorm(h, eps=1e-6), nn.Linear(h, s["experts"], bias=False)
        self.up = nn.Parameter(torch.randn(self.local, 2 * f, h) * 0.02)
        self.down = nn.Parameter(torch.randn(self.local, h, f) * 0.02)

    @torch.compile
    def route(self, x):
        y = self.norm(x).flatten(0, 1)
        scores = self.router(y).float().softmax(-1)
        weight, expert = scores.topk(self.chosen, -1)
        return y, weight / weight.sum(-1, keepdim=True), expert

    def forward(self, x):
        y, weight, expert = self.route(x)
        order = expert.flatten().argsort(stable=True)
        rows, factors = y[order // self.chosen], weight.flatten()[order]
        counts = torch.bincount(expert.flatten(), minlength=self.experts)
        if WORLD > 1:
            from torch.distributed._functional_collectives import all_to_all_single_autograd as exchange
            theirs = torch.empty_like(counts)
            dist.all_to_all_single(theirs, counts)
            sent = counts.view(WORLD, -1).sum(1).tolist()
            got = theirs.view(WORLD, -1).sum(1).tolist()
            rows, factors = (exchange(t, got, sent, dist.group.WORLD) for t in (rows, factors))
            source = torch.arange(self.local, device=DEVICE).repeat(WORLD).repeat_interleave(theirs)
            sort = source.argsort(stable=True)
            rows, factors, counts = rows[sort], factors[sort], theirs.view(WORLD, -1).sum(0)
        ends = counts.cumsum(0).to(torch.int32)
        act = weighted_swiglu(grouped(rows, self.up, ends), factors)
        out = grouped(act, self.down, ends)
        if WORLD > 1:
            out = exchange(torch.empty_like(out).index_copy(0, sort, out), sent, got, dist.group.WORLD)
        back = torch.zeros_like(y)
        return back.index_add(0, order // self.chosen, out.to(back.dtype)).view_as(x)


def grouped(x, weight, ends):
    multiply = getattr(F, "grouped_mm", None) or torch._grouped_mm
    return multiply(x.to(torch.bfloat16), weight.to(torch.bfloat16).transpose(-2, -1), offs=ends)


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.attention = Attention(s)
        self.mlp = Experts(s) if "experts" in s else Mlp(s)

    def forward(self, x, cos, sin):
        x = x + self.attention(x, cos, sin)
        return x + self.mlp(x)


class Decoder(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embedding = nn.Embedding(s["vocab"], s["hidden"])
        self.layers = nn.ModuleList(Layer(s) for _ in range(s["layers"]))
        self.norm, self.head = nn.RMSNorm(s["hidden"], eps=1e-6), nn.Linear(s["hidden"], s["vocab"], bias=False)
        angle = torch.arange(s["seq"]).outer(1e4 ** (-torch.arange(0, s["dim"], 2) / s["dim"]))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        cos, sin = self.cos.to(torch.bfloat16), self.sin.to(torch.bfloat16)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))


def loss_of(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def with_tp(model):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (ColwiseParallel, PrepareModuleInput, RowwiseParallel,
                                                   SequenceParallel, parallelize_module)
    mesh = init_device_mesh("cuda", (WORLD,))
    parallelize_module(model, mesh, {
        "embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
        "norm": SequenceParallel(),
        "head": ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1), use_local_output=False)})
    for layer in model.layers:
        gathered = PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),))
        plan = {"attention.norm": SequenceParallel(), "mlp.norm": SequenceParallel()}
        for name in ("attention.q", "attention.k", "attention.v", "mlp.gate", "mlp.up"):
            plan[name] = ColwiseParallel(input_layouts=Shard(1))
        for name in ("attention.out", "mlp.down"):
            plan[name] = RowwiseParallel(output_layouts=Shard(1))
        parallelize_module(layer, mesh, plan)
    return model


def with_zero3(model):
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in model.layers:
        fully_shard(layer, mp_policy=policy)
    return fully_shard(model, mp_policy=policy)


def run(name, layout, batch):
    shape = SHAPES[name]
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = Decoder(shape)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    routed = "experts" in shape
    if layout == "tp":
        model = with_tp(model)
    for layer in model.layers:
        (layer.attention if routed else layer).compile()
    if layout == "zero3":
        model = with_zero3(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    shared = [p for n, p in model.named_parameters() if ".mlp.up" not in n and ".mlp.down" not in n]
    compute = torch.autocast("cuda", torch.bfloat16, enabled=layout != "zero3")
    tokens = torch.randint(shape["vocab"], (batch, shape["seq"]), device=DEVICE)
    loss_fn = torch.compile(loss_of)

    def step():
        with compute:
            logits = model(tokens)
            if layout == "tp":
                from torch.distributed.tensor.parallel import loss_parallel
                with loss_parallel():
                    loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
                    loss.backward()
            else:
                loss = loss_fn(logits, tokens)
        if layout != "tp":
            loss.backward()
        if layout == "ep":
            for p in shared:
                dist.all_reduce(p.grad, op=dist.ReduceOp.AVG, async_op=False)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(5):
        step()
    times = []
    for _ in range(8):
        torch.cuda.synchronize()
        if WORLD > 1:
            dist.barrier()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    if "TRACE" in os.environ:
        profiled(step, os.path.join(os.environ["TRACE"], f"{name}-{layout}.json"))
    took = sorted(times)[len(times) // 2]
    ranks = WORLD if layout in ("zero3", "ep", "dp") else 1
    rate = batch * shape["seq"] * ranks / took / WORLD
    return dict(shape=name, layout=layout, micro_batch=batch, gpus=WORLD, step_time_s=took,
                tokens_per_s_per_gpu=round(rate, 1), memory_gb=round(torch.cuda.max_memory_allocated() / 1e9, 2))


def profiled(step, path):
    from torch.profiler import ProfilerActivity, profile, schedule
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities, record_shapes=True, schedule=schedule(wait=1, warmup=1, active=2)) as seen:
        for _ in range(4):
            step()
            torch.cuda.synchronize()
            seen.step()
    if RANK != 0:
        return
    seen.export_chrome_trace(path + ".whole")
    with open(path + ".whole") as file:
        events = json.load(file)["traceEvents"]
    os.remove(path + ".whole")
    device = [e for e in events if e.get("ph") == "X" and e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    started = {e["args"].get("External id") for e in device}
    kept = [dict(ph="X", cat=e["cat"], name=e["name"], ts=e["ts"], dur=e["dur"], args={k: v for k, v in e["args"].items()
            if k in ("External id", "stream", "Process Group Name", "Process Group Description")}) for e in device]
    for e in events:
        if e.get("ph") != "X":
            continue
        if e.get("name", "").startswith("ProfilerStep#"):
            kept.append(dict(ph="X", cat=e["cat"], name=e["name"], ts=e["ts"], dur=e["dur"]))
        elif e.get("cat") == "cpu_op" and "mm" in e["name"] and e["args"].get("External id") in started:
            kept.append(dict(ph="X", cat="cpu_op", name=e["name"], ts=e["ts"], dur=e["dur"],
                             args={k: e["args"][k] for k in ("External id", "Input Dims") if k in e["args"]}))
    with open(path, "w") as file:
        json.dump(dict(torch=torch.__version__, gpu=torch.cuda.get_device_name(), traceEvents=kept), file, indent=None)


def main():
    if WORLD > 1:
        dist.init_process_group("nccl", device_id=DEVICE)
    rows = []
    for word in sys.argv[2:]:
        parts = word.split(":")
        batch = next((int(p[2:]) for p in parts if p.startswith("mb")), 1)
        layout = next((p for p in parts[1:] if not p.startswith("mb")), "one")
        try:
            rows.append(run(parts[0], layout, batch))
        except Exception as error:  # one shape must not lose the others
            rows.append(dict(shape=parts[0], layout=layout, failed=repr(error)[:400]))
        torch.cuda.empty_cache()
        torch._dynamo.reset()
        if RANK == 0:
            print(rows[-1], flush=True)
            with open(sys.argv[1] + ".part", "w") as file:
                json.dump(dict(gpu=torch.cuda.get_device_name(), torch=torch.__version__, rows=rows), file, indent=1)
            os.replace(sys.argv[1] + ".part", sys.argv[1])
    if WORLD > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
