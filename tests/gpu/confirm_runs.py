#!/usr/bin/env python3
"""Training runs on real GPUs beside predictions that were written down before.

confirm_runs.py RUNS.json predict BIN PLANS PREDICTED.json   here: a plan of each run, and what it predicts
confirm_runs.py RUNS.json run BIN PLANS MEASURED.json        on the GPUs: trainwright confirm on each plan
confirm_runs.py RUNS.json rows BIN MEASURED.json OUT.json    as rows of the form of scenarios/published/steps.json
confirm_runs.py RUNS.json table ROWS.json                    the errors of such rows, all and by study

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
    tool, made = os.path.join(binaries, "trainwright"), []
    for run in all_runs["runs"]:
        asked = json.loads(answer([tool, "predict", *question(run), "--layout", run["layout"], "--json", "-"]))
        layout = asked["layout"]
        plan = os.path.join(plans, run["name"] + ".json")
        answer([tool, "plan", *question(run), "--fix", layout, "--top", "1", "--save", plan, "--quiet"])
        assert json.load(open(plan))["layouts"][0]["layout"] == layout, layout
        made.append({**run, "layout_text": layout, **{key: asked[key] for key in PREDICTED},
                     "memory_gib": asked["memory_gib"]["peak"]})
        print(f"{run['name']:24s} {asked['step_time_s'] * 1e3:10.1f} ms {made[-1]['memory_gib']:8.1f} GiB")
    write(out, {"source": "predicted before the runs by tests/gpu/confirm_runs.py", **all_runs["about"], "rows": made})


def launcher(run):
    start = "mpirun --allow-run-as-root --bind-to none -n {ranks}"
    return start + " tests/gpu/loopback.sh" if "loopback" in run["cluster"] else start


def confirm(all_runs, binaries, plans, out):
    tool, made, scratch = os.path.join(binaries, "trainwright"), [], out + ".one"
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
        made.append({**run, **one})
        write(out, {"rows": made})
        said = one.get("failed") or "%.1f ms of %.1f" % (one["measured"]["step_time_s"] * 1e3,
                                                         one["predicted"]["step_time_s"] * 1e3)
        print(f"{run['name']:24s} {said}", flush=True)


def model_facts(run, binaries):
    path = run["model"] if run["model"].endswith(".json") else f"scenarios/models/{run['model']}.json"
    config = json.load(open(path))
    asked = json.loads(answer([os.path.join(binaries, "trainwright"), "predict", *question(run), "--layout",
                               run["layout"], "--json", "-"]))
    experts = config.get("num_experts", config.get("num_local_experts"))
    return {"name": asked["model"], "params_b": round(asked["parameters"] / 1e9, 3),
            "layers": config["num_hidden_layers"], "hidden": config["hidden_size"],
            "ffn_hidden": None if experts else config["intermediate_size"], "heads": config["num_attention_heads"],
            "kv_heads": config["num_key_value_heads"], "head_dim": config.get("head_dim"),
            "vocab": config["vocab_size"], "experts": experts, "topk": config.get("num_experts_per_tok"),
            "moe_ffn_hidden": config.get("moe_intermediate_size", config["intermediate_size"]) if experts else None,
            "gated_mlp": True, "tied_embeddings": config.get("tie_word_embeddings", False), "seq_len": run["seq"]}


def layout_facts(run, text):
    keys = dict(pair.split("=") for pair in text.split(","))
    number = lambda key: int(keys[key])
    return {**{key: number(key) for key in ("dp", "tp", "pp", "vpp", "cp", "ep", "etp")}, "sp": keys["sp"] == "1",
            "zero": keys["zero"], "hsdp_shard": None, "micro_batch": number("mb"),
            "global_batch": run["global_batch"], "recompute": keys["recompute"], "schedule": keys["schedule"],
            "precision": "BF16", "framework": FRAMEWORK}


def rows(all_runs, binaries, measured, out):
    made = []
    for one in json.load(open(measured))["rows"]:
        m, p = one["measured"], one["predicted"]
        name, gpus = one["cluster"].split(":")
        tokens = one["global_batch"] * one["seq"] / m["step_time_s"] / int(gpus)
        made.append({
            "id": "trainwright-" + one["name"], "study": one["study"], "source": "trainwright confirm", "year": 2026, "memory_unit": "GB of the device",
            "model": model_facts(one, binaries),
            "cluster": {"gpu": "H200", "gpus": int(gpus), "gpus_per_node": 1 if "loopback" in name else 8,
                        "intra_link": "NVLink4", "name": name},
            "layout": layout_facts(one, one["layout_text"] if "layout_text" in one else one["layout"]),
            "measured": {**{key: m[key] for key in ("step_time_s", "p10_s", "p90_s")},
                         "tokens_per_s_per_gpu": round(tokens, 1), "memory_gb": round(m["memory_gib"] * 1.073741824, 3)},
            "predicted": p, "loss": m["loss"], "terms": one["terms"]})
    write(out, {**all_runs["about"], "rows": made})


def tau(pairs):
    signs = [(a[0] - b[0]) * (a[1] - b[1]) for i, a in enumerate(pairs) for b in pairs[:i]]
    return sum((s > 0) - (s < 0) for s in signs) / len(signs)


def table(path):
    all_rows, times, memory, steady, held = json.load(open(path))["rows"], [], [], [], 0
    for row in all_rows:
        m, p = row["measured"], row["predicted"]
        error = p["step_time_s"] / m["step_time_s"] - 1
        room = p["memory_gib"] * 1.073741824 / m["memory_gb"] - 1
        spread = (m["p90_s"] - m["p10_s"]) / m["step_time_s"]
        times.append(abs(error)), memory.append(abs(room))
        if spread <= 0.02:
            steady.append(abs(error))
        inside = p["step_time_low_s"] <= m["step_time_s"] <= p["step_time_high_s"]
        held += inside
        print(f"{row['id'][12:]:18s} {row['study']:13s} {p['step_time_s'] * 1e3:8.1f} {m['step_time_s'] * 1e3:8.1f} ms "
              f"{100 * error:+6.1f} %  spread {100 * spread:4.1f} %  memory {100 * room:+6.1f} %"
              f"{'' if inside else '  outside its band'}")
    mean = lambda values: 100 * statistics.mean(values) if values else float("nan")
    print(f"{len(all_rows)} runs: error {mean(times):.1f} %, worst {100 * max(times):.1f}; {len(steady)} whose steps "
          f"spread by 2 % at most: {mean(steady):.1f} %; memory {mean(memory):.1f} %, worst {100 * max(memory):.1f}; "
          f"{held} inside their bands")
    for study in sorted({row["study"] for row in all_rows}):
        pairs = [tuple(row[side]["step_time_s"] / row["layout"]["global_batch"] for side in ("predicted", "measured"))
                 for row in all_rows if row["study"] == study]
        if len(pairs) > 1:
            picked = min(pairs)[1] / min(m for _, m in pairs) - 1
            print(f"  {study}: {len(pairs)} layouts, tau {tau(pairs):.2f}, picked {100 * picked:.1f} % behind the best")


def main():
    words = sys.argv[1:]
    if len(words) < 2:
        sys.exit(__doc__)
    if words[1] == "table":
        return table(words[2])
    {"predict": predict, "run": confirm, "rows": rows}[words[1]](json.load(open(words[0])), *words[2:])


if __name__ == "__main__":
    main()
