# What /proc says of processes and their times.

# stat_of LINE: of a line of /proc/PID/stat, the time since boot at which the process began, in 1/100 s, to `start`, its
# session to `sid` and its terminal to `tty`
stat_of() {
  # The name before the last `)` may hold anything.
  set -- ${1##*) }
  sid=$4 tty=$5 start=${20}
  case $start in '' | *[!0-9]*) return 1 ;; esac
}

# clock: the time since boot, in 1/100 s, to `now`: when cat begins. The same clock as that of any other process's
# start, also where /proc/uptime shows a container's.
clock() {
  stat_of "$(cat /proc/self/stat)" && now=$start
}
