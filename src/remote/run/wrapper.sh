# The wrapper of a run: leads its session, makes `started`, runs the command, writes `rc`. Before this text are set: run,
# home, user, limit and kill_after in seconds, memory in bytes, and the texts reaper, starter and job. Its descriptors: 8 is
# wrapper.lock, its own alone; 7 is tree.lock, which the command's tree has too.
nl='
'

# x COMMAND...: with neither lock, and of another session: whatever lives in this one is the run's, and is ended with it
x() {
  setsid "$@" 7>&- 8>&-
}

# finish CODE [WHY]: writes `rc`, last of all. Its place was made when there was room. Whoever ends the run may hit what we
# start before it has left the session, so that it is tried again. Once `rc` is there nothing more is started: it would be
# taken for what the command has left.
finish() {
  command exec 7>&-
  [ ! "$2" ] || printf 'factory: %s\n' "$2" >>"$run/err.log"
  i=0
  until [ -e "$run/rc" ] || [ "$i" -ge 10 ]; do
    i=$((i + 1))
    printf '%s\n%s\n\n' "$1" "$(x date -u +%Y-%m-%dT%H:%M:%SZ)" 1<>"$run/.rc"
    l=
    IFS= read -r l <"$run/.rc"
    [ "$l" = "$1" ] && x sync "$run/.rc" && x sh -c 'mv -f -- "$1/.rc" "$1/rc" && sync "$1"' sh "$run"
  done
  exit
}

# kills: to `oom`, how many processes the kernel killed within the limits of the unit, if any. The unit goes soon after
# its last process, so nothing is started before this.
kills() {
  group='' n=''
  [ -f "$run/cgroup" ] && IFS= read -r group <"$run/cgroup"
  case $group in /*) ;; *) return ;; esac
  while IFS= read -r l; do
    case $l in 'oom_kill '*) n=${l#* } ;; esac
  done <"$group/memory.events"
  case $n in '' | 0 | *[!0-9]*) ;; *) printf '%s\n' "$n" >"$run/oom" ;; esac
}

# unit: `unit` is the means of a transient unit with limits, if the user's manager is there and stays
unit() {
  unit=
  manager=/run/user/$(x id -u)
  [ "$memory" -gt 0 ] && command -v systemd-run >/dev/null || return
  [ -S "$manager/bus" ] || [ -S "$manager/systemd/private" ] || return
  [ -e "/var/lib/systemd/linger/$user" ] ||
    [ "$(x timeout -s KILL 2 loginctl show-user "$user" -p Linger)" = Linger=yes ] || return
  x timeout -s KILL 5 env XDG_RUNTIME_DIR="$manager" systemd-run --user --scope --quiet true || return
  unit=1
}

# command_of UNIT: runs the command to its end. Its program comes by a pipe: it holds the secrets.
command_of() {
  in=$1
  set -- env -i HOME="$HOME" PATH="$PATH" sh -s -- "$run" "$home" "$user" "$in"
  [ ! "$in" ] ||
    set -- env XDG_RUNTIME_DIR="$manager" systemd-run --user --scope --quiet --collect --unit="factory-${run##*/}" \
      -p "MemoryHigh=$memory" -p "MemoryMax=$((memory + memory / 2))" -p TasksMax=4096 -- "$@"
  printf '%s\n' '{' "$starter" "$job" 'begin "$@"' '}' 7>&- 8>&- | "$@" 8>&- >>"$run/out.log" 2>>"$run/err.log"
}

wrapper() {
  # It ends when the command has ended, whoever tells it to; a trap, unlike ignoring, is not handed down.
  trap : TERM INT HUP QUIT PIPE USR1 USR2 ALRM
  umask 077
  cd /
  # All of this text has been read; it holds the secrets, and its file goes with the last descriptor.
  exec </dev/null
  command exec 8>>"$run/wrapper.lock" || exit
  flock -n 8 || exit
  l=$(x cat "/proc/$$/stat")
  set -- ${l##*) }
  mine="$$ ${20} $(x cat /proc/sys/kernel/random/boot_id) $(x date -u +%Y-%m-%dT%H:%M:%SZ)"
  printf '%s\n' "$mine" >"$run/.started.$$" && x sync "$run/.started.$$" && x ln -- "$run/.started.$$" "$run/started"
  x rm -f -- "$run/.started.$$"
  l=
  IFS= read -r l <"$run/started"
  [ "$l" = "$mine" ] || exit
  # What the command does must not be there after a power cut without it.
  x sync "$run" || finish 126 "cannot write $run"

  printf '000\n%s\n' "${mine##* }" >"$run/.rc" && x sync "$run/.rc"
  command exec 7>>"$run/tree.lock" || finish 126 "cannot open $run/tree.lock"
  i=0
  until setsid flock -n 7 8>&-; do
    i=$((i + 1))
    [ "$i" -lt 50 ] || finish 126 "cannot lock $run/tree.lock"
    x sleep 0.2 || x sleep 1
  done
  printf '%s\n' "$reaper" 7>&- 8>&- |
    x setsid env -i HOME="$HOME" PATH="$PATH" sh -s -- watch "$run" "$limit" "$kill_after"
  [ ! -e "$run/stop" ] || finish 143 'it was told to stop before it began'
  unit
  [ ! "$unit" ] || command_of 1
  code=$?
  [ ! "$unit" ] || kills
  [ "$unit" ] && [ -e "$run/cgroup" ] || {
    command_of ''
    code=$?
  }
  finish "$code"
}
