#!/usr/bin/env bash
# What `tapeline doctor` advises for this host. Nothing was changed yet: read it, take out what you
# do not want, and run it as root. Each part has the name of its check in brackets.
# To take it back: restart, after removing /etc/sysctl.d/90-tapeline.conf, the limits in
# /etc/security/limits.d/90-tapeline-*.conf, and the boot parameters, whichever it made.
set -u

# [clock-source] The kernel's clock
# Found: tsc; reboot (there are: tsc `reboot`)
# Through the processor's counter (tsc) a time costs 30 ns; through other clocks it costs up to
# 1 us and a system call, which every latency figure then has in it.
# Not from here: a container cannot; on its host: echo tsc >
# /sys/devices/system/clocksource/clocksource0/current_clocksource; boot with clocksource=tsc.

# [tsc-flags] A counter that runs at one speed on all cores
# Found: missing: constant_tsc nonstop_tsc
# Latencies are differences of the processor's counter, taken on different cores; where it
# changes its speed or stops in sleep they mean nothing.
# Not from here: ask for hosts with an invariant tsc that guests may see.

# [steal] Time taken by the hypervisor
# Found: 12.50 % since the start
# While the host runs somebody else on our core, every message waits.
# Not from here: ask for a dedicated machine, or a type whose processors are not shared.

# [platform] Bare metal, virtual machine or container
# Found: a container (it has processes of its own only) in a virtual machine (hypervisor not
# named)
# A hypervisor takes the processor away without notice, so figures from a guest are no figures
# of the program alone.
# Not from here: compare figures from here only with others from here, taken in turns; for the
# lowest latency ask for a dedicated or a bare-metal machine.

# [smt-siblings] Nothing else on a hot core's second thread
# Found: hot threads on 2-3 share cores with each other (as the guest is told)
# Two hardware threads of one core share its caches and units: whatever runs on the other one
# makes the hot one slower, by up to half.
# By hand: take a machine with a core for each hot thread.

# [irq-affinity] Device interrupts away from hot cores
# Found: 1 on 2-3: 5 $(reboot)
# An interrupt takes the core from a hot thread for 2 to 50 us, and a busy network card has
# thousands of them a second.
# By hand: settle first which cores these are: see smt-siblings.

# [cpu-governor] Frequency governor of hot cores
# Found: ';reboot;' ]0;x on 2-3
# Any governor but `performance` lets a core slow down when it seems idle, and takes
# milliseconds to bring it back.
# Not from here: a guest does not see the host's frequencies: ask the provider for a fixed one
# (the `performance` governor, or a compute-optimised type).

# [c-states] How deep hot cores may sleep
# Found: deepest: state0, 9223372036854775807 us to wake
# A core that sleeps deeply needs up to some hundred microseconds to wake for a packet or a
# finished disk write.
# Not from here: ask the provider which sleep states its hosts allow, or take a type whose
# guests control them.

# [swap] No swapping
# Found: on: ';reboot;'
# A page that was swapped out takes milliseconds to come back, in the middle of whatever needed
# it.
# Not from here: a container cannot; on its host: swapoff -a.

# [io-uring] io_uring may be used
# Found: refused: $(reboot) (kernel.io_uring_disabled = 0)
# With it a frame and its flush are one call without waiting; otherwise the log is written by a
# thread of its own, which costs two hand-overs.
# Not from here: the container's seccomp profile forbids it: give it one that allows
# io_uring_setup, io_uring_enter and io_uring_register.

# [mitigations] Guards against processor faults
# Found: 1 on: $(reboot)
# Guards such as retpolines make each system call and indirect jump slower, by 0.1 to 1 us a
# call.
# By hand: they are there for a reason: leave them on wherever others have code or accounts on
# the machine. On one that runs nothing else, boot with mitigations=off and measure what it
# brings.

# [watchdog] No lock-up detector on hot cores
# Found: on
# The kernel's detector of hung cores interrupts every core now and then, and takes one of its
# performance counters.
# Not from here: a container cannot; on its host: sysctl -w kernel.nmi_watchdog=0.

# [tuned] No power-saving profile
# Found: '; reboot; '
# The service tuned sets governor, sleep states and kernel parameters again at every start, by
# its profile.
# Not from here: a container cannot; on its host: tuned-adm profile tapeline.

echo 'nothing can be set from here'
