# Keeps what outlives a reboot: each host's disk, a file system in memory, so that a full one fills nobody else's.
# It lives as long as the lab, and tidies up when that has gone, however it went.
set -e
for name in $NAMES; do
    mkdir -p "$DIR/disks/$name"
    mount -t tmpfs -o "size=$DISK,mode=755" "$name" "$DIR/disks/$name"
done
: >"$DIR/bin/factory"
mount --bind "$BINARY" "$DIR/bin/factory"
echo "up $$"

# Whoever is stopped by a signal is named here, since nobody else could let him go on.
while read -r stopped; do kill -CONT "$stopped" || :; done

# A frozen process does not even die.
set +e
for state in "$FREEZER"/*/freezer.state; do [ -e "$state" ] && echo THAWED >"$state"; done
for state in "$FREEZER"/*/cgroup.freeze; do [ -e "$state" ] && echo 0 >"$state"; done
if [ -n "$FREEZER" ]; then
    tries=0
    until rmdir "$FREEZER"/* "$FREEZER" || [ ! -e "$FREEZER" ] || [ "$tries" = 100 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done 2>/dev/null
fi
umount "$DIR/bin/factory"
for name in $NAMES; do umount -l "$DIR/disks/$name"; done
rm -rf --one-file-system "$DIR"
