#!/usr/bin/env python3
"""Memory of the LM head with cross-entropy in eager PyTorch, forward and backward, beyond its operands and their
gradients: with logits widened to fp32 and without. Beside it the logits of one chunk of rows, which is what
trainwright-train-gpu has of them at a time (its profile's loss_rows).

python3 tests/gpu/torch_loss.py [CHUNK_ROWS]
"""
import json
import sys

import torch
import torch.nn.functional as F


def peak(rows, hidden, vocab, wide):
    x = torch.randn(rows, hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    w = (torch.randn(vocab, hidden, device="cuda", dtype=torch.bfloat16) * 0.02).requires_grad_(True)
    target = torch.randint(0, vocab, (rows,), device="cuda")
    x.grad, w.grad = torch.zeros_like(x), torch.zeros_like(w)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    logits = x @ w.t()
    F.cross_entropy(logits.float() if wide else logits, target).backward()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before - 2 * (w.numel() + x.numel())


chunk = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
for rows, hidden, vocab in ((8192, 2048, 128256), (8192, 4096, 128256), (8192, 2048, 151936)):
    for wide in (True, False):
        print(json.dumps({"rows": rows, "hidden": hidden, "vocab": vocab, "fp32_logits": wide,
                          "pytorch_bytes": peak(rows, hidden, vocab, wide), "chunk_bytes": chunk * vocab * 2}))
        torch.cuda.empty_cache()
