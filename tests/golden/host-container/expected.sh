#!/usr/bin/env bash
# What `tapeline doctor` advises for this host. Nothing was changed yet: read it, take out what you
# do not want, and run it as root. Each part has the name of its check in brackets.
# To take it back: restart, after removing /etc/sysctl.d/90-tapeline.conf, the limits in
# /etc/security/limits.d/90-tapeline-*.conf, and the boot parameters, whichever it made.
set -u

# [cpu-quota] No processor quota
# Found: 50000 us of processor time in every 100000 us
# A group that has used up its share of a period stands still until the next one, which is up to
# 100 ms, and threads that spin use it up at once.
# Not from here: start the container without --cpus, with cores of its own instead (docker run
# --cpuset-cpus 6-7; Kubernetes: static CPU manager, whole cores, requests = limits).

# [log-filesystem] File system of the log
# Found: overlay on / (overlay)
# An order leaves once its causes are on the disk; on a file system that keeps them elsewhere,
# or does not flush, that promise is empty.
# By hand: it is the container's own layer, slow and gone with it: mount a volume of the host
# there (docker run -v).

# [isolated-cores] Hot cores taken from the scheduler
# Found: isolated: none; hot threads: 6-7
# On any other core the kernel may put another program in a hot thread's place, for milliseconds
# at a time.
# Not from here: a container cannot; on its host: boot with isolcpus=managed_irq,domain,6-7.

# [irq-affinity] Device interrupts away from hot cores
# Found: 1 on 6-7: 60 eth0-TxRx-0
# An interrupt takes the core from a hot thread for 2 to 50 us, and a busy network card has
# thousands of them a second.
# Not from here: a container cannot; on its host: echo 0-5 > "/proc/irq/60/smp_affinity_list".

# [tickless-cores] No timer tick on hot cores
# Found: without tick: none; hot threads: 6-7
# The kernel's timer stops a core 100 to 1000 times a second, for 1 to 40 us each time, unless
# it is told to leave a core with one thread alone (nohz_full).
# Not from here: a container cannot; on its host: boot with nohz_full=6-7.

# [rcu-offload] No kernel clean-up work on hot cores
# Found: moved away from: none; hot threads: 6-7
# The kernel frees its memory (RCU callbacks) on whichever core last used it, in bursts that
# stop a hot thread, unless that is moved elsewhere (rcu_nocbs).
# Not from here: a container cannot; on its host: boot with rcu_nocbs=6-7.

# [kernel-workers] Kernel work queues away from hot cores
# Found: on 0-7; hot threads: 6-7
# Work that the kernel puts off (writing back, device chores) may run on any core in the mask, a
# hot one too.
# Not from here: a container cannot; on its host: echo 3f >
# /sys/devices/virtual/workqueue/cpumask.

# [cpu-governor] Frequency governor of hot cores
# Found: ondemand on 6-7
# Any governor but `performance` lets a core slow down when it seems idle, and takes
# milliseconds to bring it back.
# Not from here: a container cannot; on its host: for cpu in 6 7; do echo performance >
# "/sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor"; done.

# [c-states] How deep hot cores may sleep
# Found: deepest: C2, 400 us to wake
# A core that sleeps deeply needs up to some hundred microseconds to wake for a packet or a
# finished disk write.
# Not from here: a container cannot; on its host: for cpu in 6 7; do for state in
# "/sys/devices/system/cpu/cpu$cpu/cpuidle/state"[2-9]; do echo 1 > "$state/disable"; done;
# done.

# [transparent-huge-pages] Huge pages for those who ask
# Found: always
# Books ask for pages of 2 MiB, which make a look-up of an order in memory about 1.7 times as
# fast; `always` gives them to everyone and moves memory about for it.
# Not from here: a container cannot; on its host: echo madvise >
# /sys/kernel/mm/transparent_hugepage/enabled.

# [memlock] Memory may be locked
# Found: 64 KiB
# Locked memory is never moved to disk; host.lock_memory needs it without limit, and io_uring
# hands frames to the disk cheaper with 8 MiB of it.
# Not from here: start the container with --ulimit memlock=-1.

# [io-uring] io_uring may be used
# Found: refused: Operation not permitted (os error 1) (kernel.io_uring_disabled = 0)
# With it a frame and its flush are one call without waiting; otherwise the log is written by a
# thread of its own, which costs two hand-overs.
# Not from here: the container's seccomp profile forbids it: give it one that allows
# io_uring_setup, io_uring_enter and io_uring_register.

# [watchdog] No lock-up detector on hot cores
# Found: on
# The kernel's detector of hung cores interrupts every core now and then, and takes one of its
# performance counters.
# Not from here: a container cannot; on its host: sysctl -w kernel.nmi_watchdog=0.

echo 'nothing can be set from here'
