#!/usr/bin/env python3
"""Faults injected at random on two CPU ranks, each of which check --machine must name; see tests/gpu/machine_faults.py.

python3 tests/mpi/cpu_faults.py BIN OUT.json [TRIALS [SEED]]
A calibration of this machine, a clean check, then: occupied cores, a slowed link (TCP alone, through small buffers),
a missing core (both ranks held to one), a wrong number of ranks, a foreign calibration.
"""
import json
import os
import random
import subprocess
import sys
import time

BIN, OUT = sys.argv[1], sys.argv[2]
TRIALS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
RANDOM = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 20261122)
FOLDER = os.path.dirname(os.path.abspath(OUT))


def ours(*words, before=(), environment=None):
    return subprocess.run([*before, f"{BIN}/trainwright", *words], capture_output=True, text=True,
                          env={**os.environ, **(environment or {})})


def plan(calibration, name):
    path = os.path.join(FOLDER, name)
    made = ours("plan", "--model", "tiny-dense", "--cluster", "local-cpu:2", "--calibration", calibration, "--global-batch", "8",
                "--seq", "128", "--framework", "trainwright-cpu", "--top", "1", "--save", path, "--quiet")
    if made.returncode:
        sys.exit(made.stderr)
    return path


def check(path, more=(), before=(), environment=None):
    begun = time.perf_counter()
    said = ours("check", "--plan", path, "--machine", "--no-search", "--json", "-", *more, before=before, environment=environment)
    seconds = round(time.perf_counter() - begun, 1)
    if not said.stdout:
        return said.returncode, [said.stderr], seconds
    found = json.loads(said.stdout)["findings"]
    return said.returncode, [f"{f['severity']}: {f['text']}" for f in found if f["about"] == "machine"], seconds


def trial(kind, own, foreign):
    if kind == "occupied cores":
        spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(RANDOM.randrange(1, 4))]
        time.sleep(0.3)
        try:
            return "occupied", check(own)
        finally:
            for each in spinning:
                each.kill(), each.wait()
    if kind == "slowed link":
        room = str(RANDOM.choice([4096, 8192, 16384]))
        return "slow link", check(own, environment={
            "OMPI_MCA_btl": "tcp,self", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl_tcp_sndbuf": room, "OMPI_MCA_btl_tcp_rcvbuf": room})
    if kind == "missing core":
        return "cores missing", check(own, ["--launcher", "mpirun --allow-run-as-root --bind-to none -n {ranks} taskset -c 0"])
    if kind == "rank count":
        ranks = RANDOM.choice([1, 3, 4])
        return "rank count", check(own, ["--launcher", f"mpirun --allow-run-as-root --oversubscribe -n {ranks}"])
    return "machine", check(foreign)


def main():
    own = os.path.join(FOLDER, "here.json")
    made = ours("calibrate", "--ranks", "2", "--seconds", "8", "--out", own, "--quiet")
    if made.returncode:
        sys.exit(made.stdout + made.stderr)
    values = json.load(open(own))
    values["machine"] = "another machine"
    other = os.path.join(FOLDER, "other.json")
    json.dump(values, open(other, "w"))
    plans = plan(own, "own-plan.json"), plan(other, "other-plan.json")
    code, found, seconds = check(plans[0])
    rows = [dict(fault="none", right=code in (0, 5), seconds=seconds, found=found)]
    print(rows[-1], flush=True)
    kinds = ["occupied cores", "slowed link", "missing core", "rank count", "foreign calibration"]
    for i in range(TRIALS):
        kind = RANDOM.choice(kinds)
        wanted, (code, found, seconds) = trial(kind, *plans)
        right = code == 3 and any(f.startswith("fail") and wanted in f for f in found)
        rows.append(dict(fault=kind, wanted=wanted, right=right, seconds=seconds, found=found))
        print(i + 1, rows[-1], flush=True)
        with open(OUT, "w") as file:
            json.dump(dict(trials=rows), file, indent=1)
    print(f"{sum(r['right'] for r in rows[1:])} of {TRIALS} named; clean check {'passes' if rows[0]['right'] else 'FAILS'}")


if __name__ == "__main__":
    main()
