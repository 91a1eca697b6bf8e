#!/bin/sh
# Installs what the build needs and is not there, and nothing else. Usage: dependencies.sh [bench] [tidy] [web]
#
# Something counts as there when its command or header is found, however it was installed. The rest
# comes from apt, without recommended packages, and only when nothing has to be removed or upgraded
# for it: UPGRADE=1 allows upgrades. SKIP_DEPS=1 looks at nothing. When it cannot go on, one line
# on standard error says what is missing. Names are those of Debian 12 and Ubuntu 24.04 (universe).
set -eu

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# package, then its proof: a command, a header under an include folder, or a browser (CHROMIUM names another).
table() {
  cat <<'ROWS'
g++ command g++
cmake command cmake
ninja-build command ninja
libboost-dev header boost/graph/adjacency_list.hpp
libcli11-dev header CLI/CLI.hpp
libtomlplusplus-dev header toml++/toml.h
libeigen3-dev header eigen3/Eigen/Core
libopenmpi-dev command mpicxx
openmpi-bin command mpirun
libfmt-dev header fmt/core.h
libhwloc-dev header hwloc.h
nlohmann-json3-dev header nlohmann/json.hpp
libgtest-dev header gtest/gtest.h
libgmock-dev header gmock/gmock.h
librapidcheck-dev header rapidcheck.h
nodejs command node
npm command npm
ROWS
  for group in "$@"; do
    case $group in
      bench) echo "libbenchmark-dev header benchmark/benchmark.h" ;;
      web) echo "chromium browser chromium" ;;
      tidy) echo "clang-tidy command clang-tidy" ;;
      *) die "unknown group \"$group\"; known: bench, tidy, web" ;;
    esac
  done
}

is_there() {
  case $1 in
    command) command -v "$2" > /dev/null 2>&1 ;;
    browser) command -v "${CHROMIUM:-chromium}" > /dev/null 2>&1 || command -v google-chrome > /dev/null 2>&1 ;;
    header) [ -e "/usr/include/$2" ] || [ -e "/usr/local/include/$2" ] ;;
  esac
}

missing_packages() {
  printf '%s\n' "$1" | while read -r package kind proof; do
    is_there "$kind" "$proof" || printf '%s ' "$package"
  done
}

# Prints how to become root: nothing, or sudo (which may ask only where someone can answer).
as_root() {
  if [ "$(id -u)" -eq 0 ]; then return; fi
  command -v sudo > /dev/null 2>&1 || die "missing: $1- and neither root nor sudo to install them"
  if sudo -n true 2> /dev/null; then
    echo "sudo -n"
  elif [ -t 0 ]; then
    echo "sudo"
  else
    die "missing: $1- and sudo asks for a password here; run: sudo apt-get install $1"
  fi
}

# $1: what apt would do to install $2. A package that is there must not be upgraded for it.
check_upgrades() {
  upgraded=$(printf '%s\n' "$1" | awk '$1 == "Inst" && $3 ~ /^\[/ { printf "%s ", $2 }')
  [ -z "$upgraded" ] || [ -n "${UPGRADE:-}" ] ||
    die "installing $2would upgrade: $upgraded- nothing was changed; add UPGRADE=1 to allow it"
}

install_packages() {
  command -v apt-get > /dev/null 2>&1 ||
    die "missing (Debian names): $1- and no apt-get here; install them, then add SKIP_DEPS=1"
  root=$(as_root "$1")
  say "missing: $1"
  say "apt-get update"
  $root apt-get update -qq 2> /dev/null || say "apt-get update failed; going on with the lists that are there"
  options="--yes --no-remove --no-upgrade --no-install-recommends"
  # Package names hold no spaces, so they and the options are split on purpose.
  # shellcheck disable=SC2086
  plan=$(LC_ALL=C apt-get install --simulate $options $1 2>&1) ||
    die "cannot install $1- apt-get says: $(printf '%s\n' "$plan" | grep -m 1 '^E:')"
  check_upgrades "$plan" "$1"
  say "apt-get install $options $1"
  # Standard error is kept for the one line of a failure.
  # shellcheck disable=SC2086
  errors=$($root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq $options $1 2>&1 > /dev/null < /dev/null) ||
    die "cannot install $1- apt-get says: $(printf '%s\n' "$errors" | grep -m 1 '^E:')"
}

check_version() {
  oldest=$(printf '%s\n%s\n' "$2" "$3" | sort -V | head -n 1)
  [ "$oldest" = "$3" ] || die "$1 $2 is too old; $3 or newer is needed"
}

main() {
  if [ -n "${SKIP_DEPS:-}" ]; then return; fi
  rows=$(table "$@") || exit 1
  missing=$(missing_packages "$rows")
  if [ -n "$missing" ]; then
    install_packages "$missing"
    missing=$(missing_packages "$rows")
    [ -z "$missing" ] || die "still missing after the installation: $missing"
  fi
  check_version cmake "$(cmake --version | awk 'NR == 1 { print $3 }')" 3.25
  check_version g++ "$(g++ -dumpversion)" 12
  say "everything needed is there"
}

main "$@"
