# A launcher that starts RANKS ranks, eight to a host, on hosts that there are not: sh launch.sh RANKS COMMAND...
# Their GPUs are what the nvidia-smi beside this file says.
ranks=$1
shift
PATH=$(dirname "$0"):$PATH
export PATH
rank=0
while [ "$rank" -lt "$ranks" ]; do
  OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_LOCAL_RANK=$((rank % 8)) FAKE_HOST=n$((rank / 8)) "$@" || exit
  rank=$((rank + 1))
done
