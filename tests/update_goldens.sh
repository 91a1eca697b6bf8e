#!/bin/sh
# Rewrites tests/golden, and the examples and the scoreboard of README.md, from what the release tree makes
# now; review the diff. Where a study got worse, WHY='...' must say why; it is noted in
# tests/golden/scoreboard_reasons.txt.
set -eu
cd "$(dirname "$0")/.."

made=build/release/goldens
cmake --build --preset release
rm -rf "$made"
# A golden that differs fails its test: that is why this is run.
ctest --preset release -R '^(golden_|unit_house$)' || true
[ -d "$made" ] || {
  echo "no test made a golden" >&2
  exit 1
}
worse=build/release/scoreboard_worse.txt
if [ -s "$worse" ]; then
  cat "$worse"
  [ -n "${WHY:-}" ] || {
    echo "a study got worse: better it, or say why: WHY='...' tests/update_goldens.sh" >&2
    exit 1
  }
  reasons=tests/golden/scoreboard_reasons.txt
  while read -r line; do
    grep -qxF "$line ($WHY)" "$reasons" || echo "$line ($WHY)" >> "$reasons"
  done < "$worse"
fi
cp -r "$made/." tests/golden/
board=build/release/scoreboard.md
build/release/bin/trainwright validate --markdown > "$board"
sed -i -e "/^<!-- trainwright validate --markdown/r $board" \
  -e '/^<!-- trainwright validate --markdown/,/^<!-- end -->/{/^<!--/!d}' README.md
python3 tests/readme_examples.py
git --no-pager diff --stat -- tests/golden README.md
git status --short -- tests/golden
