#!/bin/sh
# Writes what ansible-core says of every inventory here: expected-list.json, expected-graph.txt, and for the patterns
# in patterns.txt (one a line) expected-hosts.txt; for the one in limit.txt expected-limited.json. Run it again after adding an inventory or a pattern:
#
#   ANSIBLE_BIN=/path/to/venv/bin tests/it/ansible/regenerate.sh
#
# Without ANSIBLE_BIN the programs are found by PATH. A fresh one: python3 -m venv v && v/bin/pip install ansible-core==2.19.14
set -eu
[ -z "${ANSIBLE_BIN:-}" ] || PATH="$ANSIBLE_BIN:$PATH"
cd "$(dirname "$0")"
here=$PWD
# Away from any ansible.cfg and group_vars of the current directory.
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
cd "$empty"
: >ansible.cfg
export HOME="$empty" ANSIBLE_INVENTORY_UNPARSED_FAILED=true ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_NOCOLOR=true
export ANSIBLE_DEPRECATION_WARNINGS=false ANSIBLE_CONFIG="$empty/ansible.cfg" PYTHONHASHSEED=0
ansible --version | sed -n '1s/ansible \[core \(.*\)\]/ansible-core \1/p' >"$here/VERSION"

for inventory in "$here"/[0-9]*/; do
    inventory=${inventory%/}
    ansible-inventory -i "$inventory/hosts.yml" --list 2>/dev/null >"$inventory/expected-list.json"
    ansible-inventory -i "$inventory/hosts.yml" --graph 2>/dev/null >"$inventory/expected-graph.txt"
    [ ! -f "$inventory/limit.txt" ] || ansible-inventory -i "$inventory/hosts.yml" --list \
        --limit "$(cat "$inventory/limit.txt")" 2>/dev/null >"$inventory/expected-limited.json"
    [ -f "$inventory/patterns.txt" ] || continue
    # A line: the pattern, a tab, the hosts between spaces; "none" where nothing matched, "error" where it is refused.
    while IFS= read -r pattern; do
        if out=$(ansible "$pattern" -i "$inventory/hosts.yml" --list-hosts 2>/dev/null </dev/null); then
            hosts=$(printf '%s\n' "$out" | sed 1d | sed 's/^ *//' | tr '\n' ' ' | sed 's/ *$//')
            printf '%s\t%s\n' "$pattern" "${hosts:-none}"
        else
            printf '%s\terror\n' "$pattern"
        fi
    done <"$inventory/patterns.txt" >"$inventory/expected-hosts.txt"
done
