#!/bin/sh
# on_two_hosts.sh RANKS PROGRAM ARGS...: mpirun over the two network namespaces that two_hosts.sh made, half of the
# ranks on each, each with a host name of its own; messages go by TCP over their link. Not bound to cores: both hosts
# would take the first. As `--launcher` of calibrate and confirm.
set -eu
ranks=$1
shift
export TW_AGENT=$(dirname "$0")/enter_host.sh
exec ip netns exec tw-a unshare --uts sh -c '
  hostname tw-a
  ranks=$1
  shift
  exec mpirun --allow-run-as-root -n "$ranks" --host "10.77.0.1:$((ranks / 2)),10.77.0.2:$((ranks / 2))" \
    --bind-to none --mca plm rsh --mca plm_rsh_agent "$TW_AGENT" --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 \
    --mca oob_tcp_if_include 10.77.0.0/24 --mca pml ob1 --mca mtl ^ofi "$@"' sh "$ranks" "$@"
