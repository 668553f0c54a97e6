#!/usr/bin/env bash
# Sets a machine of one's own up for tapeline: what any Linux can set, and the hardware's part.
#
#   sudo tuning/bare-metal.sh apply 2-4 enp23s0f0     hot threads on cores 2 to 4, feed on that card
#   sudo tuning/bare-metal.sh undo
#   tuning/bare-metal.sh boot 2-4                     boot parameters to add by hand
#
# Each step has the name of the check of `tapeline doctor` that asks for it in brackets, and says
# what it costs. All of it is gone after a restart; a systemd unit of type oneshot keeps it.
set -uo pipefail
# shellcheck source=tuning/steps.sh
. "$(dirname "$0")/steps.sh"

set_hardware() {
    local cpu dir state_dir sibling hot
    hot=" $(words_of "$1" | tr '\n' ' ') "
    # [tuned] A profile would set these again at its next start. Costs: its other settings.
    if [ -z "$root" ] && command -v tuned-adm > /dev/null; then
        run tuned "" tuned-adm off
    fi
    for cpu in $(words_of "$1"); do
        dir=/sys/devices/system/cpu/cpu$cpu
        # [cpu-governor] Full speed at all times. Costs: power and heat.
        set_value cpu-governor performance "$dir/cpufreq/scaling_governor"
        # [energy-preference] The processor does not trade speed for energy. Costs: the same.
        set_value energy-preference performance "$dir/cpufreq/energy_performance_preference"
        # [c-states] No sleep that takes more than 10 us to wake from. Costs: power and heat, and
        # with it some turbo for other cores.
        for state_dir in "$root$dir"/cpuidle/state*; do
            if [ "$(cat "$state_dir/latency" 2> /dev/null || echo 0)" -gt 10 ]; then
                set_value c-states 1 "${state_dir#"$root"}/disable"
            fi
        done
        # [smt-siblings] The second thread of a hot core is switched off. Costs: that processor.
        # One that is hot itself stays: name cores that are no siblings.
        for sibling in $(words_of "$(cat "$root$dir/topology/thread_siblings_list")"); do
            case $hot in
                *" $sibling "*) ;;
                *) set_value smt-siblings 0 "/sys/devices/system/cpu/cpu$sibling/online" ;;
            esac
        done
    done
    # [turbo] A clock that does not change with heat. Costs: the highest speed; leave it out where
    # that counts more than a steady one.
    set_value turbo 1 /sys/devices/system/cpu/intel_pstate/no_turbo
    set_value turbo 0 /sys/devices/system/cpu/cpufreq/boost
}

case ${1:-} in
    apply)
        [ $# -ge 2 ] || usage
        begin
        set_hardware "$2"
        set_system "$2" "${3:-}"
        say "boot parameters are not set here: $0 boot $2 prints them"
        ;;
    undo)
        begin
        undo
        ;;
    boot)
        [ $# -eq 2 ] || usage
        boot_parameters "$2"
        ;;
    *) usage ;;
esac
