#!/usr/bin/env bash
# What `tapeline doctor` advises for this host. Nothing was changed yet: read it, take out what you
# do not want, and run it as root. Each part has the name of its check in brackets.
# To take it back: restart, after removing /etc/sysctl.d/90-tapeline.conf, the limits in
# /etc/security/limits.d/90-tapeline-*.conf, and the boot parameters, whichever it made.
set -u
boot=()
problems=0

failed() {
    echo "did not work: $*" >&2
    problems=1
}

# Writes a value to a file of the kernel's.
put() {
    { printf '%s\n' "$1" > "$2"; } 2> /dev/null || failed "$1 to $2"
}

# Sets a kernel parameter, now and for later starts.
parameter() {
    if sysctl -q -w "$1=$2"; then
        echo "$1 = $2" >> /etc/sysctl.d/90-tapeline.conf
    else
        failed "$1 = $2"
    fi
}

# [clock-source] The kernel's clock
# Found: kvm-clock (there are: kvm-clock tsc acpi_pm)
# Through the processor's counter (tsc) a time costs 30 ns; through other clocks it costs up to
# 1 us and a system call, which every latency figure then has in it.
put tsc /sys/devices/system/clocksource/clocksource0/current_clocksource
boot+=('clocksource=tsc')

# [tsc-flags] A counter that runs at one speed on all cores
# Found: missing: nonstop_tsc
# Latencies are differences of the processor's counter, taken on different cores; where it
# changes its speed or stops in sleep they mean nothing.
# Not from here: ask whether the hosts have an invariant tsc that guests may see.

# [platform] Bare metal, virtual machine or container
# Found: a virtual machine (KVM, Amazon EC2 c7i.2xlarge)
# A hypervisor takes the processor away without notice, so figures from a guest are no figures
# of the program alone.
# Not from here: compare figures from here only with others from here, taken in turns; for the
# lowest latency ask for a dedicated or a bare-metal machine.

# [steal] Time taken by the hypervisor
# Found: 0.32 % since the start
# While the host runs somebody else on our core, every message waits.
# Not from here: ask for a dedicated machine, or a type whose processors are not shared.

# [smt-siblings] Nothing else on a hot core's second thread
# Found: 5,7 are second threads of hot cores, and anything may run there (as the guest is told)
# Two hardware threads of one core share its caches and units: whatever runs on the other one
# makes the hot one slower, by up to half.
# Not from here: ask for an instance type with one thread per core, or for SMT to be switched
# off.

# [isolated-cores] Hot cores taken from the scheduler
# Found: isolated: none; hot threads: 4,6
# On any other core the kernel may put another program in a hot thread's place, for milliseconds
# at a time.
boot+=('isolcpus=managed_irq,domain,4,6')

# [irq-affinity] Device interrupts away from hot cores
# Found: 1 on 4,6: 27 ens5-Tx-Rx-0
# An interrupt takes the core from a hot thread for 2 to 50 us, and a busy network card has
# thousands of them a second.
# It is lost at a restart: let tuning/bare-metal.sh run at boot. A disk's own queue interrupts
# refuse it: isolcpus=managed_irq moves those.
{ echo 0-3,5,7 > "/proc/irq/27/smp_affinity_list"; } || failed irq-affinity

# [tickless-cores] No timer tick on hot cores
# Found: without tick: none; hot threads: 4,6
# The kernel's timer stops a core 100 to 1000 times a second, for 1 to 40 us each time, unless
# it is told to leave a core with one thread alone (nohz_full).
boot+=('nohz_full=4,6')

# [rcu-offload] No kernel clean-up work on hot cores
# Found: moved away from: none; hot threads: 4,6
# The kernel frees its memory (RCU callbacks) on whichever core last used it, in bursts that
# stop a hot thread, unless that is moved elsewhere (rcu_nocbs).
boot+=('rcu_nocbs=4,6')

# [kernel-workers] Kernel work queues away from hot cores
# Found: on 0-7; hot threads: 4,6
# Work that the kernel puts off (writing back, device chores) may run on any core in the mask, a
# hot one too.
put af /sys/devices/virtual/workqueue/cpumask

# [receive-buffers] Room for bursts in the socket
# Found: 208 KiB at most; 8192 KiB wanted for each line
# What arrives while the reader is busy waits in the socket's buffer, and what does not fit
# there is lost.
parameter net.core.rmem_max 8388608

# [nic-ring] Receive ring of the network card
# Found: ens5: 1024 of at most 16384
# The ring holds what arrives until the kernel takes it; a burst that does not fit is lost
# before any socket sees it.
# It holds until the next start: a udev rule or the network manager keeps it.
{ ethtool -G ens5 rx 16384; } || failed nic-ring

# [nic-coalescing] The card does not wait for more packets
# Found: ens5: waits up to 20 us, adaptive
# To save interrupts a card holds a packet back until more come or some time has passed, and
# that time is in every latency.
# It holds until the next start: a udev rule or the network manager keeps it. Costs interrupts,
# so mind where they go (see irq-affinity).
{ ethtool -C ens5 adaptive-rx off rx-usecs 0; } || failed nic-coalescing

# [busy-poll] A read looks at the card itself
# Found: off
# With busy polling a read fetches packets from the card at once instead of waiting for its
# interrupt, which saves 5 to 20 us.
parameter net.core.busy_read 50
parameter net.core.busy_poll 50

# [write-cache] Write cache of the log's disk
# Found: nvme0n1: write back (flushes go to the host)
# With a volatile cache each durable commit waits for a flush of some 100 us; a drive that keeps
# its cache through a power cut answers in 20.
# Not from here: ask whether a flushed write survives a power cut of the host; what the host
# does with a flush cannot be seen from here.

# [mitigations] Guards against processor faults
# Found: 1 on: spectre_v2
# Guards such as retpolines make each system call and indirect jump slower, by 0.1 to 1 us a
# call.
# By hand: they are there for a reason: leave them on wherever others have code or accounts on
# the machine. On one that runs nothing else, boot with mitigations=off and measure what it
# brings.

# Boot parameters, all at once.
if command -v grubby > /dev/null; then
    grubby --update-kernel=ALL --args="${boot[*]}" || failed "grubby"
elif [ -d /etc/default/grub.d ] && command -v update-grub > /dev/null; then
    {
        echo "# Made by the advice of tapeline doctor."
        echo "GRUB_CMDLINE_LINUX=\"\$GRUB_CMDLINE_LINUX ${boot[*]}\""
    } > /etc/default/grub.d/90-tapeline.cfg
    update-grub || failed "update-grub"
else
    failed "no grubby and no update-grub; add to the boot parameters by hand: ${boot[*]}"
fi
echo "restart for the boot parameters to count: ${boot[*]}"

exit "$problems"
