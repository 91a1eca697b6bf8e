#!/bin/sh
# Writes every kind of page that the program makes. Usage: pages.sh PROGRAM FOLDER
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1
folder=$2
mkdir -p "$folder"

mixtral="--model mixtral-8x22b --cluster h100-sxm:128 --global-batch 256 --seq 4096"
# shellcheck disable=SC2086
"$program" plan $mixtral --quiet --json "$folder/plan.json" --report "$folder/plan.html"
"$program" plan --model llama-3.1-8b --cluster h100-sxm:16 --global-batch 64 --seq 8192 --gpus 16..64 --quiet \
  --report "$folder/counts.html"
"$program" predict --model llama-3.1-8b --cluster h100-sxm:8 --global-batch 64 --seq 8192 --layout tp=2,sp=1,zero=1 \
  --quiet --report "$folder/predict.html"
"$program" size --model mixtral-8x22b --cluster h100-sxm --global-batch 512 --seq 4096 --tokens 1T --gpus 128..512 \
  --price 2USD/h --deadline 60d --quiet --report "$folder/size.html"
"$program" whatif --model llama-3.1-70b --cluster h100-sxm:64 --global-batch 128 --seq 8192 --vary nvlink_domain=8,72 \
  --vary inter_bandwidth=25GB/s,50GB/s --quiet --report "$folder/whatif.html"
"$program" staged --quiet --report "$folder/staged.html"
"$program" equal-step --model "$here/../../scenarios/shapes/dense-6.4b.json" --cluster h100-sxm:64 --global-batch 512 \
  --seq 4096 --experts 64 --quiet --report "$folder/equal-step.html"
"$program" validate --studies --quiet --report "$folder/studies.html" > /dev/null
"$program" validate --quiet --report "$folder/validate.html" > /dev/null
"$program" report "$here/confirmed.json" --out "$folder/confirm.html"
"$program" plan --model llama-3.2-1b --cluster h200-sxm:2 --global-batch 4 --seq 4096 --framework trainwright --fix zero=3 \
  --top 1 --save "$folder/zero3.json" --quiet
# 5: its verdict is a warning
"$program" check --plan "$folder/zero3.json" --measured "161 ms" --profile "$here/../launch/traces/llama-1b-zero3-h200.json" \
  --quiet --report "$folder/check.html" || [ $? -eq 5 ]
# As make quickstart ends.
"$program" report "$here/quickstart_plan.json" "$here/confirmed.json" "$folder/plan.json" --out "$folder/quickstart.html"
sed 's|"mixtral-8x22b"|"<script>alert(1)</script><img src=x onerror=alert(2)>"|' "$folder/plan.json" > "$folder/hostile.json"
"$program" report "$folder/hostile.json" --out "$folder/hostile.html"
