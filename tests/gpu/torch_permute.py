"""Times of the unfused permutation of routed tokens, padded to capacity: the operators that Megatron-Core's
moe_utils.permute and unpermute run without fusion (argsort of the routing map, index_select, product with the
probabilities, scatter_add), forward and backward, beside a plain copy. Prints passes: time over that of one
read or one write of the routed rows."""
import json
import torch

def timed(run, repeat=20):
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeat):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record(); run(); b.record(); torch.cuda.synchronize()
        times.append(a.elapsed_time(b) * 1e3)
    return sorted(times)[len(times) // 2]

def case(tokens, hidden, experts, top_k):
    d = "cuda"
    capacity = tokens * top_k // experts
    scores = torch.rand(tokens, experts, device=d)
    routing = torch.zeros_like(scores, dtype=torch.bool)
    routing.scatter_(1, scores.topk(top_k, dim=1).indices, True)
    x = torch.randn(tokens, hidden, device=d, dtype=torch.bfloat16, requires_grad=True)
    probs = torch.rand(experts * capacity, device=d, dtype=torch.float32, requires_grad=True)
    out = {}
    big = torch.empty(1 << 29, device=d, dtype=torch.bfloat16)
    into = torch.empty_like(big)
    rate = 2 * big.numel() * 2 / timed(lambda: into.copy_(big))  # bytes per us
    del big, into
    one = experts * capacity * hidden * 2 / rate
    sort = lambda: routing.to(torch.int8).T.contiguous().argsort(dim=-1, descending=True, stable=True)[:, :capacity].contiguous()
    index = sort().view(-1)
    out["argsort"] = timed(sort)
    rows = torch.randn(experts * capacity, hidden, device=d, dtype=torch.bfloat16, requires_grad=True)
    grad_rows, grad_x = torch.randn_like(rows), torch.randn_like(x)
    out["index_select"] = timed(lambda: x.detach().index_select(0, index))
    y = x.index_select(0, index)
    out["index_select backward"] = timed(lambda: torch.autograd.grad(y, x, grad_rows, retain_graph=True))
    def combine(r, p):
        r = r * p.unsqueeze(-1) if p is not None else r
        o = torch.zeros(tokens, hidden, dtype=r.dtype, device=d)
        o = o.scatter_add(0, index.unsqueeze(1).expand(-1, hidden), r)
        return o.to(torch.bfloat16)
    for name, p in (("", None), (" with probabilities", probs)):
        out["scatter_add" + name] = timed(lambda: combine(rows.detach(), None if p is None else p.detach()))
        z = combine(rows, p)
        wanted = [rows] if p is None else [rows, p]
        out["scatter_add backward" + name] = timed(lambda: torch.autograd.grad(z, wanted, grad_x, retain_graph=True))
    print(json.dumps({"tokens": tokens, "hidden": hidden, "experts": experts, "top_k": top_k, "copy_rate_TB/s": round(rate / 1e6, 3),
                      "pass_us": round(one, 2), "us": {k: round(v, 1) for k, v in out.items()},
                      "passes": {k: round(v / one, 1) for k, v in out.items()}}))

print(torch.cuda.get_device_name(), torch.__version__)
for shape in ((16384, 2048, 128, 8), (4096, 2048, 128, 8), (8192, 2048, 128, 8), (2048, 4096, 128, 8), (4096, 4096, 128, 8), (4096, 7168, 256, 8), (4096, 6144, 8, 2)):
    case(*shape)
