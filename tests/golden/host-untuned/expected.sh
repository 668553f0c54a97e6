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
# Found: hpet (there are: tsc hpet acpi_pm)
# Through the processor's counter (tsc) a time costs 30 ns; through other clocks it costs up to
# 1 us and a system call, which every latency figure then has in it.
put tsc /sys/devices/system/clocksource/clocksource0/current_clocksource
boot+=('clocksource=tsc')

# [disk-space] Room for the log
# Found: 18 GiB free; 384 MiB to begin with; a full day may take 64 GiB
# Segments are made ahead at full length, and a full disk stops the run.
# By hand: a larger disk, or log.tier and log.keep to move old segments.

# [overcommit] Address space may be reserved
# Found: 2: strict
# Books reserve room for the most orders they may hold and use what they need; in strict mode
# the kernel counts the reserve as used and may refuse it.
parameter vm.overcommit_memory 0

# [load] Nothing else runs
# Found: 19.40 threads on average in the last minute
# Threads that want to run take turns with ours on every core that is not isolated, and share
# caches and memory on those that are.
# By hand: end what else runs (`top` names it) before a figure is taken.

# [smt-siblings] Nothing else on a hot core's second thread
# Found: 7,13-14 are second threads of hot cores, and anything may run there
# Two hardware threads of one core share its caches and units: whatever runs on the other one
# makes the hot one slower, by up to half.
# It is lost at a restart: let tuning/bare-metal.sh run at boot, or boot with nosmt.
{ for cpu in 7 13 14; do echo 0 > "/sys/devices/system/cpu/cpu$cpu/online"; done; } || failed smt-siblings

# [shared-cache] Hot cores that share a third-level cache
# Found: 5-6,15 are spread over [0-6,8-14] [7,15]
# A message from one core to another takes about 60 ns through a cache that both share and three
# to four times as long from one cache to another.
# By hand: name cores of one of these groups in run.cpus, as far as they go.

# [isolated-cores] Hot cores taken from the scheduler
# Found: isolated: none; hot threads: 5-6,15
# On any other core the kernel may put another program in a hot thread's place, for milliseconds
# at a time.
boot+=('isolcpus=managed_irq,domain,5-6,15')

# [irq-affinity] Device interrupts away from hot cores
# Found: 2 on 5-6,15: 60 eth0-TxRx-0, 61 eth0-TxRx-1
# An interrupt takes the core from a hot thread for 2 to 50 us, and a busy network card has
# thousands of them a second.
# It is lost at a restart: let tuning/bare-metal.sh run at boot. A disk's own queue interrupts
# refuse it: isolcpus=managed_irq moves those.
{ for irq in 60 61; do echo 0-4,7-14 > "/proc/irq/$irq/smp_affinity_list"; done; } || failed irq-affinity

# [irq-balance] Nobody moves interrupts back
# Found: irqbalance runs, and may use 5-6,15
# irqbalance spreads interrupts over all cores every ten seconds, hot ones too, unless these are
# isolated or banned.
# It lasts; or keep it off: IRQBALANCE_BANNED_CPULIST in /etc/default/irqbalance.
{ systemctl disable --now irqbalance; } || failed irq-balance

# [rt-throttling] Real-time threads are not stopped
# Found: 950000 us of every second
# By default the kernel stops a real-time thread that spins for 50 ms of every second; tapeline
# asks for no real-time priority while that is so.
# By hand: first isolate the hot cores (see isolated-cores): without that limit a spinning
# real-time thread shuts everything else out of its core. Or set host.fifo_priority = 0.

# [tickless-cores] No timer tick on hot cores
# Found: without tick: none; hot threads: 5-6,15
# The kernel's timer stops a core 100 to 1000 times a second, for 1 to 40 us each time, unless
# it is told to leave a core with one thread alone (nohz_full).
boot+=('nohz_full=5-6,15')

# [rcu-offload] No kernel clean-up work on hot cores
# Found: moved away from: none; hot threads: 5-6,15
# The kernel frees its memory (RCU callbacks) on whichever core last used it, in bursts that
# stop a hot thread, unless that is moved elsewhere (rcu_nocbs).
boot+=('rcu_nocbs=5-6,15')

# [kernel-workers] Kernel work queues away from hot cores
# Found: on 0-15; hot threads: 5-6,15
# Work that the kernel puts off (writing back, device chores) may run on any core in the mask, a
# hot one too.
put 7f9f /sys/devices/virtual/workqueue/cpumask

# [cpu-governor] Frequency governor of hot cores
# Found: schedutil on 5-6,15
# Any governor but `performance` lets a core slow down when it seems idle, and takes
# milliseconds to bring it back.
for cpu in 5 6 15; do put performance "/sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor"; done

# [energy-preference] Energy preference of hot cores
# Found: balance_performance on 5-6,15
# The processor itself trades speed for energy by this hint, whatever the governor says.
for cpu in 5 6 15; do put performance "/sys/devices/system/cpu/cpu$cpu/cpufreq/energy_performance_preference"; done

# [c-states] How deep hot cores may sleep
# Found: deepest: C2, 800 us to wake
# A core that sleeps deeply needs up to some hundred microseconds to wake for a packet or a
# finished disk write.
# It is lost at a restart: let tuning/bare-metal.sh run at boot, or boot with
# processor.max_cstate=1 intel_idle.max_cstate=1. Costs power and heat.
{ for cpu in 5 6 15; do for state in "/sys/devices/system/cpu/cpu$cpu/cpuidle/state"[2-9]; do echo 1 > "$state/disable"; done; done; } || failed c-states

# [turbo] A clock that does not change with heat
# Found: on; leave it on where the lowest latency counts more than a steady one
# With turbo a core's speed depends on its neighbours and on heat, so two runs differ for no
# reason of the program's.
put 0 /sys/devices/system/cpu/cpufreq/boost

# [transparent-huge-pages] Huge pages for those who ask
# Found: always
# Books ask for pages of 2 MiB, which make a look-up of an order in memory about 1.7 times as
# fast; `always` gives them to everyone and moves memory about for it.
put madvise /sys/kernel/mm/transparent_hugepage/enabled

# [thp-defrag] No waiting for a huge page
# Found: always
# With `always` a thread that touches new memory stands still while the kernel makes room for a
# huge page.
put defer+madvise /sys/kernel/mm/transparent_hugepage/defrag

# [huge-pages] Reserved huge pages
# Found: 0 of 0 pages of 2 MiB are free; 12032 are wanted
# With host.huge_pages = "reserved" the large arrays come from pages set aside beforehand; where
# these do not suffice they fall back to ordinary ones.
parameter vm.nr_hugepages 12032

# [swap] No swapping
# Found: on: /dev/dm-1
# A page that was swapped out takes milliseconds to come back, in the middle of whatever needed
# it.
# It holds until the next start: take its line out of /etc/fstab. Or set host.lock_memory =
# true.
{ swapoff -a; } || failed swap

# [memlock] Memory may be locked
# Found: 64 KiB
# Locked memory is never moved to disk; host.lock_memory needs it without limit, and io_uring
# hands frames to the disk cheaper with 8 MiB of it.
# It lasts, from the next login on; for a service: LimitMEMLOCK=infinity.
{ printf '* - memlock unlimited\n' > /etc/security/limits.d/90-tapeline-memlock.conf; } || failed memlock

# [rt-limit] Real-time priority is allowed
# Found: up to 0, 50 wanted
# host.fifo_priority asks for a priority above all ordinary threads, which the system must allow
# this user.
# It lasts, from the next login on; for a service: LimitRTPRIO=99.
{ printf '* - rtprio 50\n' > /etc/security/limits.d/90-tapeline-rtprio.conf; } || failed rt-limit

# [numa-balancing] No moving of pages between memory nodes
# Found: on
# To find out who uses a page the kernel takes it away and waits for the fault, which hits hot
# threads too.
parameter kernel.numa_balancing 0

# [numa-nic] Network card and hot cores on one memory node
# Found: eth0 on node 0 (cores 0-7); hot threads: 5-6,15
# A packet that arrives at another processor's memory crosses the link between them, which adds
# 100 to 300 ns to each access.
# By hand: name cores of 0-7 in run.cpus.

# [numa-disk] Log disk and hot cores on one memory node
# Found: sda on node 0 (cores 0-7); hot threads: 5-6,15
# What is written crosses the link between the processors, and completions come back over it.
# By hand: name cores of 0-7 in run.cpus.

# [tsc-rate] The counter's measured speed
# Found: they differ by 4200 parts per million
# Counter and kernel clock must agree on how long something took; they part when the counter is
# unsteady or a guest was moved to another machine.
# By hand: look for `tsc` in dmesg; other work during the measurement may be the cause as well,
# so ask again.

# [time-daemon] Something keeps the time
# Found: none runs; no hardware clock
# Without it the clock drifts by up to seconds a day, and is set in jumps when somebody notices.
# By hand: chrony; with a card that has a hardware clock, ptp4l and phc2sys.

# [receive-buffers] Room for bursts in the socket
# Found: 208 KiB at most; 8192 KiB wanted for each line
# What arrives while the reader is busy waits in the socket's buffer, and what does not fit
# there is lost.
parameter net.core.rmem_max 8388608

# [udp-drops] Datagrams dropped for want of room
# Found: 4711 since the start, of any program
# Each of them is a hole in somebody's feed; on a tuned host the count stays at zero.
# By hand: raise source.receive_buffer and net.core.rmem_max, and give the reader a core of its
# own; `nstat -az UdpRcvbufErrors` shows whether it still grows.

# [nic] The network card is up, and drops nothing
# Found: eth0: up, 10000 Mb/s, 88 missed since the start
# Packets that the card or its driver has to throw away reach no socket and show nowhere else.
# By hand: a larger receive ring (see nic-ring), and interrupts on a core that is not busy.

# [nic-ring] Receive ring of the network card
# Found: eth0: 512 of at most 4096
# The ring holds what arrives until the kernel takes it; a burst that does not fit is lost
# before any socket sees it.
# It holds until the next start: a udev rule or the network manager keeps it.
{ ethtool -G eth0 rx 4096; } || failed nic-ring

# [nic-coalescing] The card does not wait for more packets
# Found: eth0: waits up to 3 us, adaptive
# To save interrupts a card holds a packet back until more come or some time has passed, and
# that time is in every latency.
# It holds until the next start: a udev rule or the network manager keeps it. Costs interrupts,
# so mind where they go (see irq-affinity).
{ ethtool -C eth0 adaptive-rx off rx-usecs 0; } || failed nic-coalescing

# [busy-poll] A read looks at the card itself
# Found: off
# With busy polling a read fetches packets from the card at once instead of waiting for its
# interrupt, which saves 5 to 20 us.
parameter net.core.busy_read 50
parameter net.core.busy_poll 50

# [reverse-path] Multicast from any source is let in
# Found: eth0: strict
# In strict mode the kernel silently drops packets whose sender it would answer through another
# card, as is usual for feeds.
put 2 /proc/sys/net/ipv4/conf/eth0/rp_filter

# [write-cache] Write cache of the log's disk
# Found: sda: write back (each commit is flushed)
# With a volatile cache each durable commit waits for a flush of some 100 us; a drive that keeps
# its cache through a power cut answers in 20.
# By hand: a drive with power-loss protection; do not switch the kernel to write through on one
# without: that only leaves the flushes out.

# [log-disk] Kind and scheduler of the log's disk
# Found: sda: solid state, scheduler bfq
# A request should go to the drive at once: a turning disk or a scheduler that sorts requests
# adds milliseconds to a commit.
put none /sys/block/sda/queue/scheduler

# [io-uring] io_uring may be used
# Found: refused: Operation not permitted (os error 1) (kernel.io_uring_disabled = 2)
# With it a frame and its flush are one call without waiting; otherwise the log is written by a
# thread of its own, which costs two hand-overs.
parameter kernel.io_uring_disabled 0

# [mitigations] Guards against processor faults
# Found: 2 on: spectre_v1, spectre_v2
# Guards such as retpolines make each system call and indirect jump slower, by 0.1 to 1 us a
# call.
# By hand: they are there for a reason: leave them on wherever others have code or accounts on
# the machine. On one that runs nothing else, boot with mitigations=off and measure what it
# brings.

# [watchdog] No lock-up detector on hot cores
# Found: on
# The kernel's detector of hung cores interrupts every core now and then, and takes one of its
# performance counters.
parameter kernel.nmi_watchdog 0

# [tuned] No power-saving profile
# Found: balanced
# The service tuned sets governor, sleep states and kernel parameters again at every start, by
# its profile.
# It lasts; needs tuning/tapeline in /etc/tuned first. `network-latency` comes near.
{ tuned-adm profile tapeline; } || failed tuned

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
