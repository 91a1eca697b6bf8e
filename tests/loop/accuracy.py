"""How right the loop without a GPU is: calibrate, then hold 12 layouts of two models on two ranks against their
predictions. Each is trained twice, in two sweeps, so that the spread between runs stands beside the error.

  python3 tests/loop/accuracy.py build/release/bin OUT_FOLDER [--calibration K] [--steps 20]

Quiet machine, two free cores. Prints a table and the figures; OUT_FOLDER keeps every confirm result.
"""
import argparse
import json
import pathlib
import statistics
import subprocess

COMMON = ["tp=1,pp=1,cp=1"]
# Between hosts: fewer, and those that a slow link tells apart.
BETWEEN = {
    "tiny-dense": [
        "dp=2,zero=1,mb=4", "dp=2,zero=3,mb=4", "tp=2,sp=1,mb=8", "pp=2,mb=1,schedule=1f1b",
        "pp=2,mb=1,vpp=2,schedule=interleaved", "pp=2,mb=2,schedule=dualpipe", "cp=2,mb=4"],
    "tiny-moe": [
        "dp=2,ep=2,zero=1,mb=4", "dp=2,ep=1,zero=1,mb=4", "tp=2,sp=1,ep=1,etp=2,mb=8", "pp=2,mb=1,schedule=1f1b",
        "pp=2,mb=1,vpp=2,schedule=interleaved", "pp=2,mb=2,schedule=dualpipe", "cp=2,ep=1,mb=4"],
}
LAYOUTS = {
    "tiny-dense": [
        "dp=2,zero=0,mb=1", "dp=2,zero=1,mb=4", "dp=2,zero=2,mb=2", "dp=2,zero=3,mb=4", "tp=2,sp=0,mb=8",
        "tp=2,sp=1,mb=8", "tp=2,sp=1,mb=2", "pp=2,mb=1,schedule=1f1b", "pp=2,mb=2,schedule=gpipe",
        "pp=2,mb=1,vpp=2,schedule=interleaved", "cp=2,mb=4", "dp=2,zero=1,mb=2,recompute=full",
        "pp=2,mb=1,schedule=zb-h1"],
    "tiny-moe": [
        "dp=2,ep=2,zero=1,mb=4", "dp=2,ep=2,zero=3,mb=2", "dp=2,ep=1,zero=1,mb=4", "dp=2,ep=1,zero=3,mb=4",
        "tp=2,sp=1,ep=2,etp=1,mb=8", "tp=2,sp=1,ep=1,etp=2,mb=8", "tp=2,sp=0,ep=1,etp=2,mb=4", "pp=2,mb=1,schedule=1f1b",
        "pp=2,mb=1,vpp=2,schedule=interleaved", "cp=2,ep=2,mb=4", "cp=2,ep=1,mb=4",
        "dp=2,ep=2,zero=1,mb=2,recompute=full", "pp=2,mb=2,schedule=gpipe"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--calibration")
    parser.add_argument("--cluster", default="local-cpu:2")
    parser.add_argument("--launcher", default="")
    parser.add_argument("--steps", default="20")
    parser.add_argument("--sweeps", type=int, default=2)
    parser.add_argument("--models", default="tiny-dense,tiny-moe")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tool = str(args.bin / "trainwright")
    calibration = args.calibration or str(args.out / "here.json")
    if not args.calibration:
        subprocess.run([tool, "calibrate", "--device", "cpu", "--ranks", "2", "--out", calibration, "--quiet"], check=True)
    launcher = ["--launcher", args.launcher] if args.launcher else []
    for model in args.models.split(","):
        runs = []
        for i, fixed in enumerate((BETWEEN if args.launcher else LAYOUTS)[model]):
            plan = str(args.out / f"plan-{model}-{i}.json")
            keys = dict(kv.split("=") for kv in (COMMON[0] + ",dp=1,ep=1,vpp=1,recompute=none," + fixed).split(","))
            if "schedule" not in keys:
                keys["schedule"] = "1f1b"
            if keys["pp"] == "1":
                keys.pop("vpp")
            subprocess.run(
                [tool, "plan", "--model", model, "--cluster", args.cluster, "--calibration", calibration, "--framework",
                 "trainwright-cpu", "--global-batch", "8", "--seq", "128", "--top", "1", "--save", plan, "--quiet",
                 "--fix", ",".join(f"{k}={v}" for k, v in keys.items())], check=True, stdout=subprocess.DEVNULL)
            runs.append({"layout": fixed, "plan": plan, "measured": []})
        for sweep in range(args.sweeps):
            for i, run in enumerate(runs):
                result = args.out / f"confirmed-{model}-{i}-{sweep}.json"
                subprocess.run([tool, "confirm", "--plan", run["plan"], "--top", "1", "--steps", args.steps, "--json",
                                str(result), "--quiet", *launcher], stdout=subprocess.DEVNULL)
                one = json.loads(result.read_text())["layouts"][0]
                run["predicted"] = one["predicted"]
                run["measured"].append(one["measured"])
                run["terms"] = one["terms"]
        report(model, runs)


def report(model, runs):
    errors, memory, spreads = [], [], []
    print(f"{model}: predicted, measured (each sweep), ratio, memory ratio")
    for run in runs:
        times = [m["step_time_s"] for m in run["measured"]]
        run["best"] = statistics.median(times)
        run["time"] = run["predicted"]["step_time_s"]
        errors.append(abs(run["time"] / run["best"] - 1))
        memory.append(run["predicted"]["memory_gib"] / run["measured"][0]["memory_gib"] - 1)
        spreads.append(max(times) / min(times) - 1)
        shown = " ".join(f"{1e3 * t:7.1f}" for t in times)
        inside = run["predicted"]["step_time_low_s"] <= run["best"] <= run["predicted"]["step_time_high_s"]
        print(f"{1e3 * run['time']:8.1f} {shown} {run['time'] / run['best']:6.3f} {memory[-1] + 1:6.3f} "
              f"{'in ' if inside else 'out'} {run['layout']}")
    picked = min(runs, key=lambda r: r["time"])
    fastest = min(runs, key=lambda r: r["best"])
    pairs = [(a, b) for i, a in enumerate(runs) for b in runs[:i]]
    agree = sum(1 if (a["time"] - b["time"]) * (a["best"] - b["best"]) > 0 else -1 for a, b in pairs)
    print(f"median error {100 * statistics.median(errors):.1f}%, worst {100 * max(errors):.1f}%; "
          f"between runs median {100 * statistics.median(spreads):.1f}%, worst {100 * max(spreads):.1f}%")
    print(f"picked {picked['layout']}: {100 * (picked['best'] / fastest['best'] - 1):.1f}% behind the fastest, "
          f"{fastest['layout']}; Kendall tau {agree / len(pairs):.2f}")
    print(f"memory: median error {100 * statistics.median(map(abs, memory)):.1f}%, "
          f"worst {100 * max(map(abs, memory)):.1f}%\n", flush=True)


main()
