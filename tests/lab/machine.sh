# The first process of a host: lays its root, starts its services, and lives until the lab lets go of its input.
set -e
read -r pid rest </proc/self/stat
echo "up $pid"

disk=$DIR/disks/$NAME
root=$disk/root
mkdir -p "$root" "$disk/upper" "$disk/work" "$disk/copy" "$disk/users" "$disk/tmp"

# Where an overlay over this machine's root cannot be had: programs bound read-only, the rest its own.
bound() {
    : >"$disk/bound"
    mount --bind "$disk/copy" "$root"
    for entry in /*; do
        case $entry in
        /bin | /lib* | /opt | /sbin | /usr)
            if [ -h "$entry" ]; then
                [ -h "$root$entry" ] || cp -P "$entry" "$root$entry"
            else
                mkdir -p "$root$entry"
                mount --bind "$entry" "$root$entry"
                mount -o remount,bind,ro "$root$entry"
            fi
            ;;
        esac
    done
    [ -e "$root/etc" ] || cp -a /etc "$root/etc"
    cd "$root"
    mkdir -p dev home mnt proc root run srv sys tmp var/cache var/lib var/log var/spool var/tmp
    [ -h var/run ] || ln -s /run var/run
    [ -h var/lock ] || ln -s /run/lock var/lock
    chmod 1777 var/tmp
    cd /
}
if [ "$ROOT" = bound ] || [ -e "$disk/bound" ]; then
    bound
else
    mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root" || bound
fi

cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev/
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lab run/lock run/sshd "$disk/users/root" "$disk/users/home" "$disk/users/cron"
chmod 700 "$disk/users/root"
chmod 1777 "$disk/tmp" run/lock
mkdir -p root home tmp var/spool/cron usr/local/bin
mount --bind "$disk/users/root" root
mount --bind "$disk/users/home" home
mount --bind "$disk/users/cron" var/spool/cron
mount --bind "$disk/tmp" tmp
mount --rbind "$DIR/bin" usr/local/bin
# It is the same on every host: what one writes there would be on all.
mount -o remount,bind,ro usr/local/bin
mount --bind "$DIR/$NAME" run/lab
for file in $FILES; do mount --bind "run/lab/proc/$file" "proc/$file"; done
pivot_root . .
umount -l .
cd /
echo "$NAME" >/proc/sys/kernel/hostname

# A disk that was never booted from gets its users, its keys and an empty cron.
if [ ! -e /etc/ssh/lab ]; then
    echo "$NAME" >/etc/hostname
    cp /run/lab/hosts /etc/hosts
    rm -f /etc/resolv.conf /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/* /etc/cron.*/* /etc/machine-id
    : >/etc/resolv.conf
    : >/etc/crontab
    tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    # An account that is locked by `!` may not log in with a key either.
    sed -i -e '/^factory:/d' -e 's/^root:[^:]*:/root:*:/' /etc/shadow
    sed -i '/^factory:/d' /etc/passwd /etc/group
    echo "factory:*:19000:0:99999:7:::" >>/etc/shadow
    echo "factory:x:7700:7700::/home/factory:/bin/$SHELL_NAME" >>/etc/passwd
    echo "factory:x:7700:" >>/etc/group
    mkdir -p /home/factory
    cp /etc/skel/.[!.]* /home/factory/ 2>/dev/null || :
    for home in /root /home/factory; do
        mkdir -m 700 "$home/.ssh"
        cp /run/lab/authorized_keys "$home/.ssh/"
        chmod 600 "$home/.ssh/authorized_keys"
    done
    chown -R factory:factory /home/factory
    mkdir -p /var/spool/cron/crontabs
    chown root:crontab /var/spool/cron/crontabs
    chmod 1730 /var/spool/cron/crontabs
    # cron looks again when a time here changes, by the second: a table from the second of its start would be missed.
    touch -d @0 /etc/crontab /etc/cron.d /var/spool/cron/crontabs
    cp /run/lab/ssh_host_ed25519_key /run/lab/ssh_host_ed25519_key.pub /run/lab/sshd_config /etc/ssh/
    chmod 600 /etc/ssh/ssh_host_ed25519_key
    : >/etc/ssh/lab
fi

# The controller has laid the cable.
read -r word
ip -batch - <<END
link set lo up
address add $ADDRESS/24 dev eth0
link set eth0 up
END
unset DIR NAME FILES ROOT ADDRESS SHELL_NAME disk root rest word
cron
sh /run/lab/sshd.sh
echo "ready"
# Whoever has lost its parent becomes this one's child, and is buried by its wait.
exec 3<&0
cat >/dev/null <&3 &
wait $!
