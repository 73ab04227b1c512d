# A login's variable of this name says nothing.
passed=

# state DIRECTORY: what became of a run, to `s`; `boot` is the id of this boot. The order is started, lock, rc: a run that
# ends while we look is then DONE, never CRASHED. rc is looked for first as well: it comes last and stays, and a lock
# costs a process.
state() {
  s=UNKNOWN
  [ -r "$1" ] && [ -x "$1" ] || return
  l=
  if [ ! -e "$1/started" ] && [ ! -h "$1/started" ]; then
    s=CREATED
    return
  fi
  [ -f "$1/started" ] && [ -r "$1/started" ] || return
  # A full disk took no more of a cancel; what a wrapper makes is whole.
  if [ ! -s "$1/started" ]; then
    s=CANCELLED
    return
  fi
  IFS= read -r l <"$1/started" || return
  started=$l
  if [ ! -e "$1/rc" ]; then
    case $started in cancelled | 'cancelled '*)
      s=CANCELLED
      return
      ;;
    esac
    [ -r "$1/wrapper.lock" ] && command -v flock >/dev/null || return
    flock -n -s 9 9<"$1/wrapper.lock"
    case $? in
    0) ;;
    1)
      s=RUNNING
      return
      ;;
    *) return ;;
    esac
  fi
  l=
  if [ -e "$1/rc" ]; then
    [ -f "$1/rc" ] && IFS= read -r l <"$1/rc"
    case $l in '' | *[!0-9]*) return ;; *) s="DONE $l" ;; esac
  else
    # pid, starttime, boot id, time
    case $started in *' '*' '*' '*' '*) return ;; *' '*' '*' '*) ;; *) return ;; esac
    [ "$boot" ] || return
    s=CRASHED
    l=${started#* }
    l=${l#* }
    [ "${l%% *}" = "$boot" ] || s=REBOOTED
  fi
  [ ! -e "$1/empty" ] || return
  left "$1"
  case $? in 0) s="$s LEFTOVER" ;; 1) ;; *) s=UNKNOWN ;; esac
}

# left DIRECTORY: something of the tree of a run that is over lives; 1: nothing does; 2: it cannot be told. `started` is
# what its file says.
left() {
  if [ -e "$1/tree.lock" ]; then
    [ -r "$1/tree.lock" ] && command -v flock >/dev/null || return 2
    flock -n -s 9 9<"$1/tree.lock"
    case $? in 0) ;; 1) return 0 ;; *) return 2 ;; esac
  fi
  l=
  [ -f "$1/cgroup" ] && IFS= read -r l <"$1/cgroup"
  if [ "$l" ] && [ -r "$l/cgroup.procs" ]; then
    l2=
    IFS= read -r l2 <"$l/cgroup.procs"
    [ ! "$l2" ] || return 0
  fi
  l=${started#* }
  led_by=${started%% *} led_at=${l%% *}
  case $led_by$led_at in *[!0-9]* | '') led_by=0 led_at=0 ;; esac
  l=${l#* }
  [ "${l%% *}" = "$boot" ] || led_by=0
  fresh=
  while :; do
    [ "$passed" ] || { leftovers && fresh=1; } || return 2
    hit='' again=''
    case $tokens in *" ${1##*/} "*) hit=1 ;; esac
    if [ "$led_by" != 0 ]; then
      # What began after the pass is not in it, and what it saw beside a living wrapper may have ended in time.
      [ "$led_at" -lt "$passed" ] || again=1
      case $sessions in
      *" $led_by/$led_at/0 "*) again=1 ;;
      *" $led_by/$led_at/1 "* | *" $led_by/-/1 "*) hit=1 again=1 ;;
      esac
    fi
    [ "$again" ] && [ ! "$fresh" ] || break
    passed=
  done
  [ "$hit" ]
}

# processes: a line of /proc/PID/stat each, first of one that begins now; an empty line; the environments, each below a
# line `==> PID/environ <==`, between two of /dev/null. What has ended meanwhile is left out, and what may not be read.
processes() {
  cd /proc || return
  set +f
  {
    cat self/stat [0-9]*/stat
    echo
    head -c 2097152 /dev/null [0-9]*/environ /dev/null
  } 2>/dev/null | tr '\000' '\n'
}

# leftovers: one pass over all processes: `passed` is when, in 1/100 s since boot; `sessions` has a word SID/START/MORE for
# each session, START being that of its leader or `-` and MORE 1 if others than its leader live; `tokens` has the tokens of
# all runs in whose environment something lives. All words have a space on both sides.
leftovers() {
  passed=
  l=$(processes | awk '
    !part && $0 == "" { part = 1; next }
    !part {
      pid = $1; sub(/^.*\) /, ""); split($0, f, " ")
      if (NR == 1) { now = f[20]; next }
      if (f[1] ~ /[ZXx]/ || f[4] == 0) next
      if (pid == f[4]) lead[pid] = f[20]
      else more[f[4]] = 1
      all[f[4]] = 1
      next
    }
    /^==> \/dev\/null <==$/ { ends++ }
    /^FACTORY_RUN=[A-Za-z0-9._-]+$/ { token[substr($0, 13)] = 1 }
    END {
      if (ends < 2 || now !~ /^[0-9]+$/) exit 1
      printf "%s ", now
      for (s in all) printf "%s/%s/%d ", s, (s in lead) ? lead[s] : "-", (s in more)
      printf "; "
      for (t in token) printf "%s ", t
      printf "end"
    }') || return
  case $l in *'; '*end) ;; *) return 1 ;; esac
  passed=${l%% *}
  l=" ${l#* }"
  sessions=${l%%;*}
  tokens=${l#*;}
}
