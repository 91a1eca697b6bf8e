#!/usr/bin/env python3
"""Faults injected at random on two GPUs, each of which check --machine must name.

python3 tests/gpu/machine_faults.py BIN OUT.json [TRIALS [SEED]]    BIN: the folder of trainwright and its siblings
A clean check first, which must pass; then occupied memory, a busy GPU, a flooded link, a blocked link, a missing GPU, a
wrong number of ranks, a foreign calibration. Nothing of the GPUs is set; what occupies them is this program.
"""
import json
import os
import random
import subprocess
import sys
import threading
import time

import torch

BIN, OUT = sys.argv[1], sys.argv[2]
TRIALS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
RANDOM = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 20261122)


def plan(cluster):
    path = os.path.join(os.path.dirname(os.path.abspath(OUT)), cluster + ".json")
    subprocess.run([f"{BIN}/trainwright", "plan", "--model", "llama-3.2-1b", "--cluster", cluster + ":2", "--global-batch", "8",
                    "--seq", "4096", "--framework", "trainwright", "--top", "1", "--save", path, "--quiet"], check=True)
    return path


def check(path, more=(), environment=None):
    begun = time.perf_counter()
    said = subprocess.run([f"{BIN}/trainwright", "check", "--plan", path, "--machine", "--no-search", "--json", "-", *more],
                          capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if not said.stdout:
        return said.returncode, [said.stderr], time.perf_counter() - begun
    found = json.loads(said.stdout)["findings"]
    return said.returncode, [(f["severity"], f["text"]) for f in found if f["about"] == "machine"], time.perf_counter() - begun


class Busy:
    """Work in the background until it is left."""

    def __init__(self, work):
        self.work, self.stop = work, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()
        time.sleep(1.5)

    def loop(self):
        while not self.stop.is_set():
            self.work()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        torch.cuda.synchronize(0), torch.cuda.synchronize(1)
        torch.cuda.empty_cache()


class Held:
    def __init__(self, gpu, gib):
        self.gpu, self.gib = gpu, gib

    def __enter__(self):
        self.memory = torch.empty(self.gib << 30, dtype=torch.uint8, device=f"cuda:{self.gpu}")

    def __exit__(self, *_):
        del self.memory
        torch.cuda.empty_cache()


def products(gpu):
    a = torch.randn(4096, 4096, device=f"cuda:{gpu}", dtype=torch.bfloat16)

    def work():
        for _ in range(50):
            torch.mm(a, a)
        torch.cuda.synchronize(gpu)
    return work


def copies():
    source, target = (torch.empty(256 << 20, dtype=torch.uint8, device=f"cuda:{g}") for g in (0, 1))
    back, there = (torch.empty(256 << 20, dtype=torch.uint8, device=f"cuda:{g}") for g in (0, 1))

    def work():
        for _ in range(20):
            target.copy_(source, non_blocking=True)
            back.copy_(there, non_blocking=True)
        torch.cuda.synchronize(0), torch.cuda.synchronize(1)
    return work


def trial(kind, own, foreign):
    gpu = RANDOM.randrange(2)
    if kind == "occupied memory":
        with Held(gpu, RANDOM.randrange(4, 40)):
            return f"GPU {gpu} is occupied", check(own)
    if kind == "busy GPU":
        with Busy(products(gpu)):
            return f"GPU {gpu}", check(own)
    if kind == "flooded link":
        with Busy(copies()):
            return "link among", check(own)
    if kind == "blocked link":
        return "link among", check(own, environment={"NCCL_P2P_DISABLE": "1"})
    if kind == "missing GPU":
        return "GPU missing", check(own, environment={"CUDA_VISIBLE_DEVICES": str(gpu)})
    if kind == "rank count":
        ranks = RANDOM.choice([1, 3, 4])
        return "rank count", check(own, ["--launcher", f"mpirun --allow-run-as-root --oversubscribe -n {ranks}"])
    return "foreign calibration", check(foreign)


def main():
    own, foreign = plan("h200-sxm"), plan("h100-sxm")
    kinds = ["occupied memory", "busy GPU", "flooded link", "blocked link", "missing GPU", "rank count", "foreign calibration"]
    for gpu in (0, 1):
        torch.ones(1, device=f"cuda:{gpu}")
    code, found, seconds = check(own)
    rows = [dict(fault="none", right=code in (0, 5) and not any(f[0] == "fail" for f in found), seconds=seconds, found=found)]
    print(rows[-1], flush=True)
    if not rows[0]["right"]:
        sys.exit("the clean check fails: no use in faults")
    for i in range(TRIALS):
        kind = RANDOM.choice(kinds)
        wanted, (code, found, seconds) = trial(kind, own, foreign)
        right = code == 3 and any(f[0] == "fail" and wanted in f[1] for f in found)
        rows.append(dict(fault=kind, wanted=wanted, right=right, seconds=round(seconds, 1), found=[f for f in found if f[0] == "fail"]))
        print(i + 1, rows[-1], flush=True)
        with open(OUT + ".part", "w") as file:
            json.dump(dict(gpu=torch.cuda.get_device_name(), trials=rows), file, indent=1)
        os.replace(OUT + ".part", OUT)
    print(f"{sum(r['right'] for r in rows[1:])} of {TRIALS} named; clean check {'passes' if rows[0]['right'] else 'FAILS'}")


if __name__ == "__main__":
    main()
