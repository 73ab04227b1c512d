#!/bin/sh
# A lab to play in: `sh tests/lab.sh 3` makes three hosts and gives you a shell on their controller, where `ssh h1` and
# `factory` work. All of it goes when you leave the shell. docs/lab.md tells more.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
    echo "the lab needs root: run 'sudo -E sh tests/lab.sh'" >&2
    exit 1
fi
LAB=must LAB_HOSTS=${1:-3} exec cargo test --quiet --locked --test it -- --ignored --exact lab_traces::a_shell_for_people --nocapture
