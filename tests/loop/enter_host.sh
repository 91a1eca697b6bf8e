#!/bin/sh
# enter_host.sh HOST COMMAND...: what ssh would be between real hosts.
set -eu
shift
exec ip netns exec tw-b unshare --uts sh -c 'hostname tw-b; exec sh -c "$*"' sh "$@"
