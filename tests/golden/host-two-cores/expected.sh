#!/usr/bin/env bash
# What `tapeline doctor` advises for this host. Nothing was changed yet: read it, take out what you
# do not want, and run it as root. Each part has the name of its check in brackets.
# To take it back: restart, after removing /etc/sysctl.d/90-tapeline.conf, the limits in
# /etc/security/limits.d/90-tapeline-*.conf, and the boot parameters, whichever it made.
set -u

# [cores] A core for each hot thread
# Found: 2 hot threads on all 2 cores of this machine
# The reader and each shard spin without rest, so two on one core take turns of milliseconds.
# By hand: run.model = "run-to-completion", which needs one core, or a machine with more: the
# kernel, the disk's threads and everything else now run on the hot threads' cores, which rest
# for them when nothing comes.

# [isolated-cores] Hot cores taken from the scheduler
# Found: isolated: none; hot threads: 0-1
# On any other core the kernel may put another program in a hot thread's place, for milliseconds
# at a time.
# By hand: nothing can be set: no core is left for the rest of the system (see `cores`).

# [irq-affinity] Device interrupts away from hot cores
# Found: 1 on 0-1: 30 eth0
# An interrupt takes the core from a hot thread for 2 to 50 us, and a busy network card has
# thousands of them a second.
# By hand: nothing can be set: no core is left for the rest of the system (see `cores`).

# [tickless-cores] No timer tick on hot cores
# Found: without tick: none; hot threads: 0-1
# The kernel's timer stops a core 100 to 1000 times a second, for 1 to 40 us each time, unless
# it is told to leave a core with one thread alone (nohz_full).
# By hand: nothing can be set: no core is left for the rest of the system (see `cores`).

# [rcu-offload] No kernel clean-up work on hot cores
# Found: moved away from: none; hot threads: 0-1
# The kernel frees its memory (RCU callbacks) on whichever core last used it, in bursts that
# stop a hot thread, unless that is moved elsewhere (rcu_nocbs).
# By hand: nothing can be set: no core is left for the rest of the system (see `cores`).

# [kernel-workers] Kernel work queues away from hot cores
# Found: on 0-1; hot threads: 0-1
# Work that the kernel puts off (writing back, device chores) may run on any core in the mask, a
# hot one too.
# By hand: nothing can be set: no core is left for the rest of the system (see `cores`).

echo 'nothing can be set from here'
