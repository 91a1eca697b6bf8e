# Host time that one activation checkpoint adds to what it runs again, as Megatron-Core makes one
# (tensor_parallel/random.py): states of the CPU's, the GPU's and three tracked generators are read in
# the forward, read, set and set back around the replay; the output is freed and made again
# (CheckpointWithoutOutput), or the replay runs a backward of its own (CheckpointFunction).
# Run: python3 tests/gpu/torch_checkpoint.py; prints us per checkpoint, forward and backward together.
import time

import torch

TRACKED = {name: None for name in ("default", "model-parallel-rng", "expert-parallel-rng")}


def get_states():
    return torch.get_rng_state(), torch.cuda.get_rng_state(), dict(TRACKED)


def set_states(states):
    torch.set_rng_state(states[0])
    torch.cuda.default_generators[torch.cuda.current_device()].set_state(states[1])
    TRACKED.update(states[2])


class Fork:
    def __enter__(self):
        self.states = get_states()

    def __exit__(self, *_):
        set_states(self.states)


class WithoutOutput(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, holder, x):
        with torch.no_grad():
            y = run(x)
        ctx.save_for_backward(x.detach())
        ctx.holder = holder
        holder.ctx = ctx
        return y

    @staticmethod
    def backward(ctx, gradient):
        torch.autograd.backward((ctx.again,), (gradient,))
        return None, None, ctx.input.grad


class Discarded:
    def __init__(self, run):
        self.run = run

    def __call__(self, x):
        self.states = get_states()
        self.output = WithoutOutput.apply(self.run, self, x)
        return self.output

    def discard(self, reader):
        self.bytes = self.output.untyped_storage().size()
        self.output.untyped_storage().resize_(0)
        if reader.requires_grad:
            reader.register_hook(self.again)

    def again(self, _):
        with Fork():
            set_states(self.states)
            x = self.ctx.saved_tensors[0].detach().requires_grad_()
            with torch.enable_grad():
                y = self.run(x)
        self.output.untyped_storage().resize_(self.bytes)
        with torch.no_grad():
            self.output.untyped_storage().copy_(y.untyped_storage())
        self.ctx.again, self.ctx.input = y, x


class Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, x):
        ctx.run, ctx.states = run, get_states()
        with torch.no_grad():
            y = run(x)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, gradient):
        with Fork():
            set_states(ctx.states)
            x = ctx.saved_tensors[0].detach().requires_grad_()
            with torch.enable_grad():
                y = ctx.run(x)
        torch.autograd.backward((y,), (gradient,))
        return None, x.grad


def run(x):
    return torch.sin(x)  # one kernel, whose backward reads its input


def layer(kind, x):
    if kind == "plain":
        return torch.sin(run(x))
    if kind == "kept":
        return torch.sin(Kept.apply(run, x))
    discarded = Discarded(run)
    y = torch.sin(discarded(x))
    discarded.discard(y)
    return y


def host_us(kind, layers=50, repeats=40):
    x = torch.randn(1024, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        y = x
        for _ in range(layers):
            y = layer(kind, y)
        y.sum().backward()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / layers * 1e6)
        x.grad = None
    return sorted(times)[len(times) // 2]


def main():
    plain = host_us("plain")
    once = host_us("plain")
    print(f"plain {plain:.1f} us (again {once:.1f})")
    for kind in ("kept", "discarded"):
        print(f"{kind}: {host_us(kind) - plain:.1f} us more")
    x = torch.randn(1024, 64, device="cuda", dtype=torch.bfloat16)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(2000):
        torch.sin(x)
    print(f"one kernel: {(time.perf_counter() - start) / 2000 * 1e6:.1f} us")
    start = time.perf_counter()
    for _ in range(500):
        with Fork():
            set_states(get_states())
    print(f"states: {(time.perf_counter() - start) / 500 * 1e6:.1f} us")


main()
