#!/bin/sh
# two_hosts.sh BIN OUT [RATE_IN_MBIT...]: the loop over two hosts that are network namespaces of this machine, joined
# by a link that tc holds to a rate. One host's calibration first, then for each rate: calibrate the link, plan, and
# confirm layouts of two models. Needs root, ip, tc, python3 and two free cores. Default rates: 200 1000 8000.
# MODELS=... and STEPS=... as accuracy.py takes them; SECONDS_OF_LINK=... to calibrate.
set -eu
bin=$1
out=$2
shift 2
[ $# -gt 0 ] || set -- 200 1000 8000
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

forget() {
  ip netns del tw-a 2> /dev/null || true
  ip netns del tw-b 2> /dev/null || true
}
forget
trap forget EXIT
ip netns add tw-a
ip netns add tw-b
ip link add tw-a0 netns tw-a type veth peer name tw-b0 netns tw-b
ip -n tw-a addr add 10.77.0.1/24 dev tw-a0
ip -n tw-b addr add 10.77.0.2/24 dev tw-b0
for host in tw-a tw-b; do
  ip -n $host link set lo up
  ip -n $host link set ${host}0 up
done

[ -f "$out/here.json" ] || "$bin/trainwright" calibrate --ranks 2 --seconds "${SECONDS_OF_LINK:-40}" \
  --out "$out/here.json" --quiet
launcher="$here/on_two_hosts.sh {ranks}"
for rate in "$@"; do
  # A bucket that a quarter of a millisecond fills: a larger one lets whole messages pass faster than the rate.
  burst=$((rate > 256 ? rate / 32 : 8))
  for host in tw-a tw-b; do
    ip netns exec $host tc qdisc replace dev ${host}0 root tbf rate "${rate}mbit" burst "${burst}kb" latency 200ms
  done
  cat > "$out/hosts-$rate.json" << JSON
{"title": "Two hosts of one core", "gpu": "local-cpu", "gpus": 2,
 "node": {"gpus": 1, "link": "host", "switch_planes": 1, "nics": 1, "nic_rate": "$((rate * 125)) kB/s",
          "nic_latency": "5 us"},
 "network": {"rails": false, "nodes_per_pod": 2, "oversubscription": 1, "switch_latency": "0 s"},
 "calibration": "local-cpu", "source": "declared: two network namespaces, a link shaped by tc"}
JSON
  "$bin/trainwright" calibrate --cluster "$out/hosts-$rate.json" --base "$out/here.json" --launcher "$launcher" \
    --seconds "${SECONDS_OF_LINK:-15}" --out "$out/link-$rate.json" --quiet
  echo "== ${rate} Mbit/s"
  python3 "$here/accuracy.py" "$bin" "$out/at-$rate" --cluster "$out/hosts-$rate.json" \
    --calibration "$out/link-$rate.json" --launcher "$launcher" --steps "${STEPS:-6}" --sweeps "${SWEEPS:-1}" \
    --models "${MODELS:-tiny-dense,tiny-moe}"
done
