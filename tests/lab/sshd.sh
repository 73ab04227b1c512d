# Starts sshd anew and waits until it listens: it writes its process id only then.
set -e
stop() {
    [ -s /run/sshd.pid ] || return 0
    read -r pid </run/sshd.pid
    kill "$pid" 2>/dev/null || :
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    rm -f /run/sshd.pid
}
stop
[ "$1" != stop ] || exit 0
/usr/sbin/sshd
tries=0
until [ -s /run/sshd.pid ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || { echo "sshd does not listen" >&2; exit 1; }
    sleep 0.01
done
