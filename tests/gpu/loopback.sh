#!/bin/sh
# A rank that NCCL takes for a node of its own: starts "$@" so under mpirun, over sockets on the loopback
# interface as the cluster h200-loopback was calibrated.
export NCCL_HOSTID="node-$OMPI_COMM_WORLD_RANK" NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1
export NCCL_SOCKET_NTHREADS=4 NCCL_NSOCKS_PERTHREAD=4
exec "$@"
