#!/bin/sh
# Runs the tests of the named trees and counts their cases; the last line is `N passed, N failed`.
# Usage: tests/run.sh release [asan ...]
#
# ctest says how each program ended (junit), gtest how many of its cases passed (JSON), a program
# under mpirun the same in NAME.counts. A program that crashed, timed out, ran no case, or failed
# outside its cases counts as one failed.
set -u
cd "$(dirname "$0")/.." || exit 1

# Lines "NAME STATUS" of a junit file of ctest; STATUS is run, fail or notrun.
ended() {
  awk '/<testcase / {
    match($0, /name="[^"]*"/); name = substr($0, RSTART + 6, RLENGTH - 7)
    match($0, /status="[^"]*"/); print name, substr($0, RSTART + 8, RLENGTH - 9)
  }' "$1"
}

# "PASSED FAILED SKIPPED" of one program. $1: its JSON result, $2: how it ended. A check without any
# result (a compile-failure twin) is one case.
count_cases() {
  if [ -s "${1%.json}.counts" ]; then
    awk -v status="$2" '{ print $1, ($2 == 0 && (status != "run" || $1 == 0) ? 1 : $2), 0 }' "${1%.json}.counts"
    return
  fi
  if [ ! -s "$1" ]; then
    case "$2 $1" in
      "run "*/compile_fail.*) echo "1 0 0" ;;
      *) echo "0 1 0" ;;
    esac
    return
  fi
  awk -v status="$2" '
    /"failures": [0-9]+/ && !seen { match($0, /[0-9]+/); failed = substr($0, RSTART, RLENGTH) + 0; seen = 1 }
    /"result": "COMPLETED"/ { completed++ }
    /"result": "SKIPPED"/ { skipped++ }
    END {
      passed = completed - failed
      if (failed == 0 && (status != "run" || completed + skipped == 0)) failed = 1
      print passed + 0, failed + 0, skipped + 0
    }' "$1"
}

jobs=$(nproc 2> /dev/null || echo 1)
passed=0
failed=0
skipped=0
for tree in "$@"; do
  results=build/$tree/results
  rm -rf "$results"
  mkdir -p "$results"
  echo "== test: $tree tree"
  ctest --preset "$tree" -j "$jobs" --output-junit results/ctest.xml
  if [ ! -s "$results/ctest.xml" ]; then
    echo "ctest wrote no result in $results"
    failed=$((failed + 1))
    continue
  fi
  ended "$results/ctest.xml" > "$results/ended.txt"
  while read -r name status; do
    counts=$(count_cases "$results/$name.json" "$status")
    # shellcheck disable=SC2086
    set -- $counts
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    [ "$2" -eq 0 ] || echo "failed: $tree $name ($2)"
  done < "$results/ended.txt"
done

[ "$skipped" -eq 0 ] || echo "$skipped skipped"
if [ $((passed + failed)) -eq 0 ]; then
  echo "no test ran"
  failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
