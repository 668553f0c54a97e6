#!/usr/bin/env bash
# Starts tapeline in a container so that the container costs no latency. A container shares its
# host's kernel: set the host up with bare-metal.sh or vm.sh first, from outside.
#
#   tuning/container.sh 2-4 /data/runs IMAGE tapeline run -c live.toml -o /runs/live
#   DRY_RUN=1 tuning/container.sh ...          prints the command instead
#
# To take it back, stop the container.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 CORES FOLDER IMAGE COMMAND..." >&2
    exit 2
fi
cores=$1 folder=$2 image=$3
shift 3

args=(run --rm --init)
# These cores and no share of a period: threads that spin would use one up at once and stand still
# for the rest of it. Costs: nobody else should be given them. (Checks cpu-quota and cores.)
args+=(--cpuset-cpus "$cores")
# [memlock] Memory may be locked. Costs: the container can keep memory from the host for good.
args+=(--ulimit memlock=-1:-1)
# [rt-limit] Real-time priority may be asked for. Costs: a thread of it can take a core.
args+=(--ulimit rtprio=98 --cap-add SYS_NICE)
# [io-uring] The usual seccomp profile forbids io_uring; this file allows all that it allows, and
# io_uring. Costs: more of the host's kernel is open to the container. Without SECCOMP the log is
# written by a thread, which also works.
if [ -n "${SECCOMP:-}" ]; then
    args+=(--security-opt "seccomp=$SECCOMP")
fi
# The network card itself, without a bridge in between, since multicast does not cross one. Costs:
# the container sees all of the host's network. (Check nic.)
args+=(--network host)
# Runs go to a disk of the host and not into the container's layers. (Check log-filesystem.)
args+=(--volume "$folder:/runs")

engine=docker
command -v docker > /dev/null || engine=podman
if [ -n "${DRY_RUN:-}" ]; then
    echo "$engine" "${args[@]}" "$image" "$@"
else
    exec "$engine" "${args[@]}" "$image" "$@"
fi
