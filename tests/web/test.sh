#!/bin/sh
# Makes every page and looks at it in a browser. Usage: test.sh PROGRAM FOLDER COUNTS_FILE
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/pages.sh" "$1" "$2"
PAGES=$2 exec node "$here/run.mjs" "$3"
