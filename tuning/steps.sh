#!/usr/bin/env bash
# Sourced by bare-metal.sh and vm.sh: how a value is set so that it can be put back.
#
# Each value that is replaced is written down first, in $state, and `undo` puts all of them back in
# reverse order. Both the settings and $state are gone after a restart.
# With TAPELINE_TUNING_ROOT the files below that folder are set instead, and no command is run: this
# is how the tests look at the scripts.

root=${TAPELINE_TUNING_ROOT:-}
state=$root/run/tapeline-tuning

say() { printf '%s\n' "$*"; }

# set_value ID VALUE FILE
set_value() {
    local id=$1 value=$2 file=$root$3 old
    if [ ! -f "$file" ]; then
        say "[$id] left: there is no $3 here"
        return 0
    fi
    old=$(cat "$file" 2> /dev/null)
    # Of a list of choices the chosen one stands in brackets.
    case $old in
        *"["*"]"*) old=${old#*\[} old=${old%%\]*} ;;
    esac
    if [ "$old" = "$value" ]; then
        say "[$id] already: $3 is $value"
        return 0
    fi
    if { printf '%s\n' "$value" > "$file"; } 2> /dev/null; then
        printf '%s\t%s\n' "$file" "$old" >> "$state/values"
        say "[$id] $3: ${old:-(empty)} -> $value"
    else
        say "[$id] refused: $3 stays $old"
    fi
}

# set_sysctl ID NAME VALUE
set_sysctl() {
    set_value "$1" "$3" "/proc/sys/${2//.//}"
}

# run ID UNDO COMMAND...: runs a command, and writes down the command line that takes it back.
run() {
    local id=$1 undo=$2
    shift 2
    if [ -n "$root" ]; then
        say "[$id] not run here: $*"
    elif ! command -v "$1" > /dev/null; then
        say "[$id] left: $1 is not installed"
    elif "$@" > /dev/null 2>&1; then
        [ -z "$undo" ] || printf '%s\n' "$undo" >> "$state/commands"
        say "[$id] done: $*"
    else
        say "[$id] refused: $*"
    fi
}

# A list such as 2-4,7 in words: 2 3 4 7.
words_of() {
    local part
    for part in ${1//,/ }; do
        seq "${part%-*}" "${part#*-}"
    done
}

# The cores that are switched on and not in the list, with commas.
others_than() {
    local hot all
    hot=" $(words_of "$1" | tr '\n' ' ') "
    all=$(cat "$root/sys/devices/system/cpu/online")
    for cpu in $(words_of "$all"); do
        case $hot in
            *" $cpu "*) ;;
            *) printf '%s\n' "$cpu" ;;
        esac
    done | paste -sd,
}

# Cores with commas as the mask that the kernel writes: 32 bits in each group, the highest first.
mask_of() {
    local cpu groups=() group last=0
    for cpu in ${1//,/ }; do
        group=$((cpu / 32))
        groups[group]=$((${groups[group]:-0} | 1 << (cpu % 32)))
        last=$((group > last ? group : last))
    done
    printf '%x' "${groups[last]:-0}"
    for ((group = last - 1; group >= 0; group--)); do
        printf ',%08x' "${groups[group]:-0}"
    done
}

begin() {
    if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
        say "this sets the system's values and must be run as root" >&2
        exit 1
    fi
    mkdir -p "$state"
}

# Puts back what was there, the last one first.
undo() {
    local file old line
    if [ -f "$state/values" ]; then
        while IFS=$'\t' read -r file old; do
            { printf '%s\n' "$old" > "$file"; } 2> /dev/null || say "could not put $old back in $file"
        done < <(tac "$state/values")
    fi
    if [ -f "$state/commands" ]; then
        while IFS= read -r line; do
            bash -c "$line" || say "could not: $line"
        done < <(tac "$state/commands")
    fi
    rm -rf "$state"
    say "put back; boot parameters stay until they are taken out"
}

# What every Linux can set, guest or not. $1: the cores of the hot threads; $2: the network card.
set_system() {
    local hot=$1 nic=$2 spare irq swap
    spare=$(others_than "$hot")

    # [transparent-huge-pages] Huge pages for programs that ask, as books do. Costs: nothing.
    set_value transparent-huge-pages madvise /sys/kernel/mm/transparent_hugepage/enabled
    # [thp-defrag] Nobody waits for a huge page but who asks. Costs: fewer of them after long
    # uptimes.
    set_value thp-defrag defer+madvise /sys/kernel/mm/transparent_hugepage/defrag
    # [huge-pages] Only with PAGES=number: sets pages of 2 MiB aside, for
    # host.huge_pages = "reserved". Costs: that memory is gone for everything else.
    if [ -n "${PAGES:-}" ]; then
        set_sysctl huge-pages vm.nr_hugepages "$PAGES"
    fi
    # [swap] Nothing is moved to disk. Costs: what does not fit in memory is ended.
    while read -r swap _; do
        case $swap in
            Filename | "") ;;
            *) run swap "swapon '$swap'" swapoff "$swap" ;;
        esac
    done < "$root/proc/swaps"
    # [overcommit] Reserving address space is free. Costs: nothing; it is the kernel's default.
    if [ "$(cat "$root/proc/sys/vm/overcommit_memory")" = 2 ]; then
        set_sysctl overcommit vm.overcommit_memory 0
    fi
    # [numa-balancing] Pages stay where they are. Costs: programs that wander between memory nodes
    # are slower.
    set_sysctl numa-balancing kernel.numa_balancing 0
    # [watchdog] No detector of hung cores. Costs: a core that hangs is not told of.
    set_sysctl watchdog kernel.nmi_watchdog 0
    # [io-uring] Programs may use io_uring. Costs: a part of the kernel that had security holes is
    # open to all users.
    set_sysctl io-uring kernel.io_uring_disabled 0
    # [receive-buffers] Sockets may hold 64 MiB. Costs: that memory, once a program asks for it.
    set_sysctl receive-buffers net.core.rmem_max 67108864
    # [busy-poll] A read looks at the network card itself for up to 50 us. Costs: processor time of
    # every program that waits for the network.
    set_sysctl busy-poll net.core.busy_read 50
    set_sysctl busy-poll net.core.busy_poll 50
    if [ -n "$nic" ]; then
        # [reverse-path] Multicast may come from senders that are reached another way. Costs:
        # forged senders are caught less strictly.
        set_sysctl reverse-path "net.ipv4.conf.$nic.rp_filter" 2
        # [nic-ring] The longest receive ring that the card has. Costs: some MiB of memory.
        run nic-ring "" ethtool -G "$nic" rx "$(ring_max "$nic")"
        # [nic-coalescing] An interrupt for each packet at once. Costs: more interrupts.
        run nic-coalescing "ethtool -C '$nic' adaptive-rx on" \
            ethtool -C "$nic" adaptive-rx off rx-usecs 0
    fi
    # [clock-source] Times come from the processor's counter. Costs: nothing, where it is offered.
    if grep -qw tsc "$root/sys/devices/system/clocksource/clocksource0/available_clocksource"; then
        set_value clock-source tsc /sys/devices/system/clocksource/clocksource0/current_clocksource
    fi
    # [log-disk] Requests go to drives that do not turn as they come. Costs: several programs get
    # less even shares of a disk.
    local queue
    for queue in "$root"/sys/block/*/queue; do
        if [ "$(cat "$queue/rotational" 2> /dev/null)" = 0 ] && [ -f "$queue/scheduler" ]; then
            set_value log-disk none "${queue#"$root"}/scheduler"
        fi
    done
    # [memlock] Anybody may lock memory, from the next login on. Costs: any user can take memory
    # from the others for good.
    limit memlock unlimited
    # [rt-limit] Anybody may ask for real-time priority, from the next login on. Costs: any user's
    # thread can take a core for itself.
    limit rtprio 98
    # [irq-balance] Nobody moves interrupts back. Costs: they stay where they are put, whatever the
    # load.
    if [ -z "$root" ] && command -v systemctl > /dev/null && systemctl is-active -q irqbalance; then
        run irq-balance "systemctl start irqbalance" systemctl stop irqbalance
    fi
    if [ -z "$spare" ]; then
        say "all cores are hot: interrupts, kernel workers and the rest have nowhere else to go"
        return 0
    fi
    # [irq-affinity] Interrupts go to the other cores. Costs: these have more to do.
    for irq in "$root"/proc/irq/[0-9]*; do
        set_value irq-affinity "$spare" "${irq#"$root"}/smp_affinity_list"
    done
    # [kernel-workers] So does work that the kernel puts off.
    set_value kernel-workers "$(mask_of "$spare")" /sys/devices/virtual/workqueue/cpumask
    # [rt-throttling] Real-time threads are not stopped. Costs: one that spins on a core that is
    # not isolated hangs that core, so it is only set where all hot cores are.
    if all_isolated "$hot"; then
        set_sysctl rt-throttling kernel.sched_rt_runtime_us -1
    else
        say "[rt-throttling] left: not all of $hot are isolated"
    fi
}

all_isolated() {
    local isolated cpu
    isolated=" $(words_of "$(cat "$root/sys/devices/system/cpu/isolated")" | tr '\n' ' ') "
    for cpu in $(words_of "$1"); do
        case $isolated in
            *" $cpu "*) ;;
            *) return 1 ;;
        esac
    done
}

ring_max() {
    ethtool -g "$1" 2> /dev/null | awk '$1 == "RX:" { print $2; exit }'
}

limit() {
    local file=/etc/security/limits.d/90-tapeline-$1.conf
    if [ -z "$root" ] && [ -d /etc/security/limits.d ]; then
        printf '* - %s %s\n' "$1" "$2" > "$file"
        printf 'rm -f %s\n' "$file" >> "$state/commands"
        say "[limits] $file: $1 $2"
    fi
}

# The boot parameters for cores. [isolated-cores] [tickless-cores] [rcu-offload]
# Costs: these cores run what is pinned to them, and nothing else.
boot_parameters() {
    # [isolated-cores] The scheduler leaves them alone, and so do the disk's own interrupts.
    printf 'isolcpus=managed_irq,domain,%s ' "$1"
    # [tickless-cores] No timer tick where one thread runs alone.
    printf 'nohz_full=%s ' "$1"
    # [rcu-offload] The kernel frees its memory elsewhere.
    printf 'rcu_nocbs=%s\n' "$1"
}

usage() {
    say "usage: $0 apply CORES [NIC]   set what helps hot threads on CORES (2-4,7)"
    say "       $0 undo                put back what was there"
    say "       $0 boot CORES          print the boot parameters; sets nothing"
    exit 2
}
