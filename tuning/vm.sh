#!/usr/bin/env bash
# Sets a virtual machine up for tapeline, from inside: only what a guest can set. Frequencies, sleep
# states, turbo and the second threads of cores are the host's: `tapeline doctor` says what to ask of
# the provider.
#
#   sudo tuning/vm.sh apply 2-4 ens5
#   sudo tuning/vm.sh undo
#   tuning/vm.sh boot 2-4
#
# Each step has the name of the check of `tapeline doctor` that asks for it in brackets (see
# steps.sh), and says what it costs. All of it is gone after a restart.
set -uo pipefail
# shellcheck source=tuning/steps.sh
. "$(dirname "$0")/steps.sh"

case ${1:-} in
    apply)
        [ $# -ge 2 ] || usage
        begin
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
