# The first process of the controller: its only network is the lab, and its home is the lab's.
set -e
read -r pid rest </proc/self/stat
mount -t proc proc /proc
echo controller >/proc/sys/kernel/hostname
ip -batch - <<END
link set lo up
link add lab type bridge forward_delay 0 stp_state 0
address add $ADDRESS/24 dev lab
link set lab up
END
mount --bind "$DIR/hosts" /etc/hosts
# This machine's own settings for ssh are nobody's business here.
mount --bind "$DIR/ssh" /etc/ssh
mount --bind "$DIR/home" /root
echo "up $pid"
exec 3<&0
cat >/dev/null <&3 &
wait $!
