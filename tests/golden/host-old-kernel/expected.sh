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

# Sets a kernel parameter, now and for later starts.
parameter() {
    if sysctl -q -w "$1=$2"; then
        echo "$1 = $2" >> /etc/sysctl.d/90-tapeline.conf
    else
        failed "$1 = $2"
    fi
}

# [cpu-quota] No processor quota
# Found: 200000 us of processor time in every 100000 us
# A group that has used up its share of a period stands still until the next one, which is up to
# 100 ms, and threads that spin use it up at once.
# By hand: take CPUQuota= out of the service's unit, and give it AllowedCPUs=.

# [clock-source] The kernel's clock
# Found: acpi_pm (there are: acpi_pm)
# Through the processor's counter (tsc) a time costs 30 ns; through other clocks it costs up to
# 1 us and a system call, which every latency figure then has in it.
# By hand: the kernel found the tsc unstable: see `dmesg | grep -i tsc`, and update the
# firmware.

# [log-filesystem] File system of the log
# Found: ext3 on / (/dev/sda1)
# An order leaves once its causes are on the disk; on a file system that keeps them elsewhere,
# or does not flush, that promise is empty.
# By hand: it was not tried with this program: put runs on a local ext4 or xfs.

# [tickless-cores] No timer tick on hot cores
# Found: this kernel cannot (built without NO_HZ_FULL)
# The kernel's timer stops a core 100 to 1000 times a second, for 1 to 40 us each time, unless
# it is told to leave a core with one thread alone (nohz_full).
# By hand: a kernel built with CONFIG_NO_HZ_FULL, as most distributions' are.

# [rcu-offload] No kernel clean-up work on hot cores
# Found: moved away from: none; hot threads: 2-3
# The kernel frees its memory (RCU callbacks) on whichever core last used it, in bursts that
# stop a hot thread, unless that is moved elsewhere (rcu_nocbs).
boot+=('rcu_nocbs=2-3')

# [transparent-huge-pages] Huge pages for those who ask
# Found: this kernel has none
# Books ask for pages of 2 MiB, which make a look-up of an order in memory about 1.7 times as
# fast; `always` gives them to everyone and moves memory about for it.
# By hand: a kernel built with CONFIG_TRANSPARENT_HUGEPAGE, or reserved huge pages
# (host.huge_pages = "reserved").

# [receive-buffers] Room for bursts in the socket
# Found: 208 KiB at most; 8192 KiB wanted for each line
# What arrives while the reader is busy waits in the socket's buffer, and what does not fit
# there is lost.
parameter net.core.rmem_max 8388608

# [log-disk] Kind and scheduler of the log's disk
# Found: sda: turning, scheduler cfq
# A request should go to the drive at once: a turning disk or a scheduler that sorts requests
# adds milliseconds to a commit.
# By hand: an NVMe drive.

# [kernel] A kernel that is new enough
# Found: 3.10.0-1160.el7.x86_64
# Before 5.10 io_uring is slow or missing, and before 5.6 cores cannot be kept free of managed
# interrupts.
# By hand: a kernel from 5.10 on, better 6.1.

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
