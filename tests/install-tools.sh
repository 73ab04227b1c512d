#!/bin/sh
# Installs the programs that tests use and that are missing here, where this is root on a Debian-like system.
# Elsewhere it names them and goes on: a test that lacks its program says so in one line and leaves out that part.
set -u

# command:package
wanted="sshd:openssh-server ssh:openssh-client busybox:busybox-static flock:util-linux unshare:util-linux ip:iproute2 \
git:git crontab:cron strace:strace script:bsdutils nsenter:util-linux setpriv:util-linux mount:mount ps:procps hostname:hostname faketime:faketime \
socat:socat openssl:openssl"

PATH=$PATH:/usr/sbin:/sbin
packages=
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing for some tests:$packages (run 'make tools' as root to install them)" >&2
    exit 0
fi

# Tests start their own sshd and cron; installing the packages must not start the machine's.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT INT TERM
fi

export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { timeout 300 apt-get install -y -qq --no-install-recommends $packages ||
    { timeout 300 apt-get update -qq && timeout 600 apt-get install -y -qq --no-install-recommends $packages; }; } \
    >/dev/null 2>&1; then
    echo "could not install$packages: some tests will leave out a part" >&2
fi
exit 0
