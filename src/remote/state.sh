# state DIRECTORY: what became of a run, to `s`; `boot` is the id of this boot. The order is started, lock, rc: a run that
# ends while we look is then DONE, never CRASHED. rc is looked for first as well: it comes last and stays, and a lock
# costs a process.
state() {
  s=UNKNOWN
  [ -r "$1" ] && [ -x "$1" ] || return
  l=
  if [ ! -e "$1/started" ]; then
    s=CREATED
    return
  fi
  [ -f "$1/started" ] && IFS= read -r l <"$1/started" || return
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
    case $l in '' | *[!0-9]*) ;; *) s="DONE $l" ;; esac
    return
  fi
  # pid, starttime, boot id, time
  case $started in *' '*' '*' '*' '*) return ;; *' '*' '*' '*) ;; *) return ;; esac
  [ "$boot" ] || return
  s=CRASHED
  l=${started#* }
  l=${l#* }
  [ "${l%% *}" = "$boot" ] || s=REBOOTED
}
