#!/bin/sh
# Five faults of runs on GPUs: each must end with a clear line, leave no process, and free the GPU.
# faults.sh BIN PLAN, in the repository's root; BIN holds trainwright and trainwright-train-gpu, PLAN is of two
# GPUs and trains for a minute or more. Ends with "N faults, M wrong".
set -u
bin=$1 plan=$2 wrong=0 faults=0 said=$(mktemp)
train="mpirun --allow-run-as-root --bind-to none -n"
small="--model tiny-dense --global-batch 6 --seq 128"

check() {  # name, exit code wanted, words wanted
  faults=$((faults + 1)) bad=
  [ "$code" = "$2" ] || bad="exit code $code, not $2"
  grep -qi -e "$3" "$said" || bad="$bad; no word of '$3'"
  sleep 2
  pgrep -f trainwright-train-gpu > /dev/null && bad="$bad; a process is left"
  used=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | sort -n | tail -1)
  [ "$used" -lt 1500 ] || bad="$bad; $used MiB of a GPU are not free"
  [ -z "$bad" ] || wrong=$((wrong + 1))
  echo "$1: ${bad:-right}: $(grep -i -e "$3" "$said" | head -1 | cut -c1-220)"
}
# A run that is under way: one rank gets the signal.
signalled() {
  "$bin/trainwright" confirm --plan "$plan" --top 1 --steps 2000 --patience 6 \
    --launcher "$train {ranks}" > "$said" 2>&1 &
  confirm=$!
  sleep 25
  pkill "-$1" -n -f trainwright-train-gpu
  wait $confirm; code=$?
}

signalled KILL; check "a rank is killed" 4 "signal\|killed\|ended"
signalled STOP; check "a rank hangs" 4 "nothing for\|silent\|hung\|hang"
pkill -CONT -f trainwright-train-gpu
$train 1 "$bin/trainwright-train-gpu" --model llama-3.1-8b --layout dp=1,mb=8 --global-batch 8 --seq 8192 --steps 2 \
  > "$said" 2>&1; code=$?; check "more than the GPU holds" 2 "memory"
$train 1 "$bin/trainwright-train-gpu" $small --layout dp=1,mb=2 --steps 2 --deviation 1e20 > "$said" 2>&1
code=$?; check "scores that overflow" 4 "no number"
$train 3 --oversubscribe "$bin/trainwright-train-gpu" $small --layout dp=3,mb=1 > "$said" 2>&1
code=$?; check "more ranks than GPUs" 2 "3 ranks"
rm -f "$said"
echo "$faults faults, $wrong wrong"
[ "$wrong" = 0 ]
