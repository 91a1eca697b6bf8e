#!/usr/bin/env python3
"""Training runs on real GPUs beside predictions that were written down before.

confirm_runs.py RUNS.json predict BIN PLANS PREDICTED.json   here: a plan of each run, and what it predicts
confirm_runs.py RUNS.json run BIN PLANS MEASURED.json        on the GPUs: trainwright confirm on each plan
confirm_runs.py RUNS.json table MEASURED.json                the errors, all and by study

RUNS.json: {"steps": N, "runs": [{"name", "study", "model", "cluster", "global_batch", "seq", "layout"}, ...]};
runs of one study answer one question. BIN holds trainwright and trainwright-train-gpu. Start it in the
repository's root.
"""
import json
import os
import statistics
import subprocess
import sys

FRAMEWORK = "trainwright"
PREDICTED = ("step_time_s", "step_time_low_s", "step_time_high_s")


def calibration(run):
    return run["cluster"].split(":")[0]


def question(run):
    return ["--model", run["model"], "--cluster", run["cluster"], "--calibration", calibration(run), "--framework",
            FRAMEWORK, "--global-batch", str(run["global_batch"]), "--seq", str(run["seq"]), "--expert-load",
            "fresh"]


def answer(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def write(path, value):
    with open(path + ".part", "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(path + ".part", path)


def predict(all_runs, binaries, plans, out):
    os.makedirs(plans, exist_ok=True)
    tool, rows = os.path.join(binaries, "trainwright"), []
    for run in all_runs["runs"]:
        asked = json.loads(answer([tool, "predict", *question(run), "--layout", run["layout"], "--json", "-"]))
        layout = asked["layout"]
        plan = os.path.join(plans, run["name"] + ".json")
        answer([tool, "plan", *question(run), "--fix", layout, "--top", "1", "--save", plan, "--quiet"])
        assert json.load(open(plan))["layouts"][0]["layout"] == layout, layout
        rows.append({**run, "layout_text": layout, **{key: asked[key] for key in PREDICTED},
                     "memory_gib": asked["memory_gib"]["peak"]})
        print(f"{run['name']:24s} {asked['step_time_s'] * 1e3:10.1f} ms {rows[-1]['memory_gib']:8.1f} GiB")
    write(out, {"what": "predicted before the runs by tests/gpu/confirm_runs.py", "framework": FRAMEWORK,
                "rows": rows})


def launcher(run):
    start = "mpirun --allow-run-as-root --bind-to none -n {ranks}"
    return start + " tests/gpu/loopback.sh" if "loopback" in run["cluster"] else start


def confirm(all_runs, binaries, plans, out):
    tool, rows, scratch = os.path.join(binaries, "trainwright"), [], out + ".one"
    for run in all_runs["runs"]:
        command = [tool, "confirm", "--plan", os.path.join(plans, run["name"] + ".json"), "--top", "1", "--steps",
                   str(run.get("steps", all_runs["steps"])), "--launcher", launcher(run), "--json", scratch,
                   "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode in (0, 4) and os.path.exists(scratch):
            one = json.load(open(scratch))["layouts"][0]
            os.remove(scratch)
        else:
            one = {"failed": done.stderr.strip()}
        rows.append({**run, **one})
        write(out, {"rows": rows})
        said = one.get("failed") or "%.1f ms of %.1f" % (one["measured"]["step_time_s"] * 1e3,
                                                         one["predicted"]["step_time_s"] * 1e3)
        print(f"{run['name']:24s} {said}", flush=True)


def tau(pairs):
    signs = [(a[0] - b[0]) * (a[1] - b[1]) for i, a in enumerate(pairs) for b in pairs[:i]]
    return sum((s > 0) - (s < 0) for s in signs) / len(signs)


def table(measured):
    rows = [row for row in json.load(open(measured))["rows"] if "measured" in row]
    times, memory, steady, held = [], [], [], 0
    for row in rows:
        m, p = row["measured"], row["predicted"]
        error = p["step_time_s"] / m["step_time_s"] - 1
        room = p["memory_gib"] / m["memory_gib"] - 1
        spread = (m["p90_s"] - m["p10_s"]) / m["step_time_s"]
        times.append(abs(error)), memory.append(abs(room))
        if spread <= 0.02:
            steady.append(abs(error))
        inside = p["step_time_low_s"] <= m["step_time_s"] <= p["step_time_high_s"]
        held += inside
        print(f"{row['name']:22s} {row['study']:12s} {p['step_time_s'] * 1e3:9.1f} {m['step_time_s'] * 1e3:9.1f} ms "
              f"{100 * error:+6.1f} %  spread {100 * spread:4.1f} %  memory {100 * room:+6.1f} %"
              f"{'' if inside else '  outside its band'}")
    mean = lambda values: 100 * statistics.mean(values) if values else float("nan")
    print(f"{len(rows)} runs: error {mean(times):.1f} %, worst {100 * max(times):.1f}; {len(steady)} steady "
          f"{mean(steady):.1f}; memory {mean(memory):.1f}, worst {100 * max(memory):.1f}; in band {held}")
    for study in sorted({row["study"] for row in rows}):
        pairs = [(row["predicted"]["step_time_s"] / row["global_batch"], row["measured"]["step_time_s"] /
                  row["global_batch"]) for row in rows if row["study"] == study]
        if len(pairs) > 1:
            picked = min(pairs)[1] / min(m for _, m in pairs) - 1
            print(f"  {study}: {len(pairs)} layouts, tau {tau(pairs):.2f}, picked {100 * picked:.1f} % behind")


def main():
    words = sys.argv[1:]
    if len(words) < 2:
        sys.exit(__doc__)
    all_runs = json.load(open(words[0])) if words[1] != "table" else None
    {"predict": predict, "run": confirm}[words[1]](all_runs, *words[2:]) if all_runs else table(*words[2:])


if __name__ == "__main__":
    main()
