"""Our grouped products against PyTorch's grouped_mm and against a cuBLASLt product per expert, in one process
and the same minutes. First their results: against fp64, over loads that are even, skewed, ragged, prime and
empty. Then times, medians in microseconds, of each product on the shapes of a list like truth/h200_torch_ops.json
and of two models, with the floors: bytes over the copy bandwidth and FLOPs over the rate of a large product,
both measured here.

    python3 torch_grouped.py LIBRARY [--check] [--rows FILE]
"""
import argparse
import ctypes
import json
import math
import sys

import torch


class Call(ctypes.Structure):
    _fields_ = [("rows", ctypes.c_void_p)] + [(n, ctypes.c_int64) for n in ("groups", "total", "n", "k")] + [
        (n, ctypes.c_void_p) for n in ("left", "right", "out", "act", "factor", "stream")]


NAMES = ["forward", "dgrad", "wgrad", "swiglu"]


class Case:
    """Operands of one product: 0 forward, 1 dgrad, 2 wgrad, 3 forward with SwiGLU."""

    def __init__(self, product, rows, n, k):
        self.product, self.n, self.k, self.rows = product, n, k, rows
        self.groups, self.total = len(rows), sum(rows)
        dev, e, t = "cuda", self.groups, self.total
        self.counts = torch.tensor(rows, dtype=torch.int64, device=dev)
        self.host = (ctypes.c_int64 * e)(*rows)
        self.offs = torch.cumsum(self.counts, 0).to(torch.int32)
        bf = dict(dtype=torch.bfloat16, device=dev)
        self.x = torch.randn(t, k, **bf) if product in (0, 2, 3) else None
        self.dy = torch.randn(t, n, **bf) if product in (1, 2) else None
        self.w = torch.randn(e, n, k, **bf) * 0.02 if product != 2 else None
        self.factor = torch.rand(t, device=dev)
        self.act = torch.full((t, n // 2), float("nan"), **bf) if product == 3 else None
        if product == 2:
            self.out = torch.zeros(e, n, k, device=dev)
        else:
            self.out = torch.full((t, k if product == 1 else n), float("nan"), **bf)
        left = self.x if product in (0, 3) else self.dy
        right = self.x if product == 2 else self.w
        at = lambda x: None if x is None else x.data_ptr()
        self.call = Call(at(self.counts), e, t, n, k, at(left), at(right), at(self.out), at(self.act),
                         at(self.factor), torch.cuda.current_stream().cuda_stream)

    def ours(self, lib):
        lib.tw_grouped(self.product, ctypes.byref(self.call))

    def ours_apart(self, lib):
        """The forward, then SwiGLU."""
        lib.tw_grouped(0, ctypes.byref(self.call))
        lib.tw_swiglu(ctypes.byref(self.call))

    def loop(self, lib):
        lib.tw_loop_made.restype = ctypes.c_void_p
        made = ctypes.c_void_p(lib.tw_loop_made(self.product % 3, ctypes.byref(self.call), self.host))

        def run():
            lib.tw_loop_run(made, ctypes.byref(self.call))
            if self.product == 3:
                lib.tw_swiglu(ctypes.byref(self.call))
        return run, lambda: lib.tw_loop_ended(made)

    def torch(self, w=None):
        if self.product in (0, 3):
            return torch._grouped_mm(self.x, self.w.transpose(-2, -1) if w is None else w, self.offs)
        if self.product == 1:
            return torch._grouped_mm(self.dy, self.w, self.offs)
        return torch._grouped_mm(self.dy.t(), self.x, self.offs)

    def torch_added(self):
        """Into fp32 sums, as ours."""
        self.out.add_(self.torch())

    def wanted(self):
        """In fp64; of SwiGLU the pair of results."""
        out, first = [], 0
        for e, rows in enumerate(self.rows):
            part = slice(first, first + rows)
            if self.product in (0, 3):
                out.append(self.x[part].double() @ self.w[e].double().t())
            elif self.product == 1:
                out.append(self.dy[part].double() @ self.w[e].double())
            else:
                out.append(self.dy[part].double().t() @ self.x[part].double())
            first += rows
        whole = torch.stack(out) if self.product == 2 else torch.cat(out)
        if self.product != 3:
            return [whole]
        both = whole.bfloat16().double()
        gate, up = both.chunk(2, 1)
        return [whole, torch.nn.functional.silu(gate) * up * self.factor.double()[:, None]]


def error(got, wanted):
    if wanted.numel() == 0:
        return 0.0
    return ((got.double() - wanted).norm() / wanted.norm()).item()


def where(got, wanted):
    """Which part is wrong, and the first and last such element."""
    off = ((got.double() - wanted).abs() > 0.02 * wanted.abs().mean() + 0.02 * wanted.abs()) | got.isnan()
    at = off.nonzero()
    return (f"{off.double().mean().item():.3f} of {tuple(got.shape)} off, NaN {got.isnan().double().mean().item():.3f}, "
            f"{at[0].tolist() if len(at) else None} to {at[-1].tolist() if len(at) else None}")


LOADS = {
    "even": [256] * 4,
    "one row each": [1] * 5,
    "prime": [127, 131, 257, 61, 2],
    "empty": [0, 0, 300, 0, 1, 0, 129, 0],
    "skewed": [1500, 3, 40, 64, 65, 63, 128, 1],
    "one has all": [0, 0, 777],
    "none": [0, 0],
    "many": [(7 * i * i) % 97 for i in range(200)],
    "more than one launch": [(5 * i) % 23 for i in range(300)],
}
SIZES = [(512, 256), (264, 200), (384, 1032), (8, 8), (128, 64)]


def check(lib):
    worst, bad = 0.0, 0
    for product in range(4):
        for n, k in SIZES:
            if product == 3 and n % 256:
                continue
            for name, rows in LOADS.items():
                case = Case(product, rows, n, k)
                if product == 2:
                    case.out.normal_()
                    before = case.out.double()
                case.ours(lib)
                torch.cuda.synchronize()
                got = [case.out, case.act][: 2 if product == 3 else 1]
                wanted = case.wanted()
                if product == 2:
                    wanted = [wanted[0] + before]
                limit = 1e-5 if product == 2 else 3e-3
                for g, w in zip(got, wanted):
                    e = error(g, w)
                    worst = max(worst, e / limit)
                    if not e < limit:
                        bad += 1
                        print("WRONG", NAMES[product], n, k, name, e, where(g, w), flush=True)
    print(f"check: {bad} wrong, the worst error {worst:.2f} of its limit", flush=True)
    return bad


def burst(run, count):
    """Microseconds of each of `count` calls without a pause, behind one that is not counted."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    run()
    for i, event in enumerate(events):
        if i:
            run()
        event.record()
    torch.cuda.synchronize()
    return [1e3 * a.elapsed_time(b) for a, b in zip(events, events[1:])]


def medians(runs, rounds=4, burst_us=6000):
    """Of each run, over bursts that take turns: the GPU's clock depends on what came before."""
    times = {key: [] for key in runs}
    count = max(3, min(20, int(burst_us / burst(next(iter(runs.values())), 3)[-1])))
    for turn in range(rounds):
        for key in list(runs)[:: 1 if turn % 2 == 0 else -1]:
            times[key] += burst(runs[key], count)
    return {key: sorted(all_)[len(all_) // 2] for key, all_ in times.items()}


def ceilings():
    a = torch.randn(1 << 30, dtype=torch.bfloat16, device="cuda")
    b = torch.empty_like(a)
    x, y = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    times = medians({"copy": lambda: b.copy_(a), "product": lambda: x @ y}, burst_us=40000)
    return 4 * a.numel() / times["copy"] / 1e6, 2 * 8192**3 / times["product"] / 1e6  # TB/s, TFLOP/s


# Experts, rows of each, n, k: of both truth files, then of a layer of Qwen3-30B-A3B and of Mixtral-8x7B.
SHAPES = [(8, 1024, 14336, 4096), (8, 4096, 14336, 4096), (64, 256, 1408, 2048), (64, 1024, 1408, 2048),
          (128, 128, 768, 2048), (128, 512, 768, 2048), (256, 64, 2048, 7168), (32, 512, 2048, 7168)]
MODELS = [(64, 1024, 1536, 2048), (64, 1024, 2048, 768), (4, 4096, 28672, 4096), (4, 4096, 4096, 14336)]


def floors(product, e, t, n, k, copy, rate):
    bytes_ = 2 * e * t * (n + k) + (8 if product == 2 else 2) * e * n * k + (e * t * n if product == 3 else 0)
    return bytes_ / copy / 1e6, 2 * e * t * n * k / rate / 1e6


def measure(lib, args):
    copy, rate = ceilings()
    print(f"{torch.cuda.get_device_name()}: copy {copy:.2f} TB/s, bf16 product of 8192 {rate:.0f} TFLOP/s", flush=True)
    rows = []
    for product in range(4):
        for e, t, n, k in SHAPES + MODELS:
            if product == 3 and (n % 256 or (e, t, n, k) not in MODELS):
                continue
            case = Case(product, [t] * e, n, k)
            looped, ended = case.loop(lib)
            runs = {"ours": lambda: case.ours(lib), "torch": case.torch, "loop": looped}
            if product == 0:
                turned = case.w.transpose(-2, -1).contiguous()
                runs["torch_turned"] = lambda: case.torch(turned)
            if product == 2:
                runs["torch_added"] = case.torch_added
            if product == 3:
                runs["ours_apart"] = lambda: case.ours_apart(lib)
            row = {"product": NAMES[product], "E": e, "T": t, "n": n, "k": k}
            row["bytes_us"], row["flops_us"] = floors(product, e, t, n, k, copy, rate)
            row.update({key + "_us": value for key, value in medians(runs).items()})
            row = {key: round(x, 1) if isinstance(x, float) else x for key, x in row.items()}
            rows.append(row)
            print(json.dumps(row), flush=True)
            ended()
            del case, runs
            torch.cuda.empty_cache()
    for kind in NAMES:
        for name, shapes in (("listed shapes", SHAPES), ("models", MODELS)):
            some = [r for r in rows if r["product"] == kind and (r["E"], r["T"], r["n"], r["k"]) in shapes]
            others = [key for key in (some[0] if some else []) if key.endswith("_us") and key != "ours_us"]
            mean = {key: math.exp(sum(math.log(r[key] / r["ours_us"]) for r in some) / len(some)) for key in others}
            print(kind, name, "over ours:", {key[:-3]: round(x, 3) for key, x in mean.items()})
    if args.rows:
        with open(args.rows, "w") as file:
            json.dump({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "copy_tbs": copy,
                       "rate_tflops": rate, "rows": rows}, file, indent=0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rows")
    args = parser.parse_args()
    torch.manual_seed(1)
    lib = ctypes.CDLL(args.library)
    if args.check:
        sys.exit(1 if check(lib) else 0)
    measure(lib, args)


if __name__ == "__main__":
    main()
