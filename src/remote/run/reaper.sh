# The reaper: ends what is to end, after the guard has answered or without one. In a session of its own, with no lock of
# the guard's. Arguments: `watch RUN LIMIT KILL_AFTER`, `reap RUN`, or `process SID LED_AT TERM_AFTER KILL_AFTER KNOWN`, as
# `members` takes them; times are in seconds.

# pause: between two looks
pause() {
  sleep "$1" 6>&- || sleep 1 6>&-
}

# after SECONDS: so many have passed since `began`
after() {
  clock
  [ $((now - began)) -ge $(($1 * 100)) ]
}

# gone: the tree of the run is empty and its wrapper has ended; then nobody need look again
gone() {
  passed=
  state "$run"
  case $s in
  *LEFTOVER) return 1 ;;
  DONE* | CRASHED | REBOOTED) ;;
  # Who should have begun it has died: it has no tree.
  CANCELLED | CREATED) return 0 ;;
  *) return 1 ;;
  esac
  : >"$run/empty"
}

# watch: until the wrapper has ended, and if the tree has not, until the limit; what is left then is stopped
watch() {
  clock
  began=$now
  until after "$limit"; do
    # Whatever came of it, a look that cost no time is not repeated at once: the directory may be gone.
    [ -d "$run" ] || exit
    timeout -s KILL "$((limit - (now - began) / 100))" flock -s "$run/wrapper.lock" true
    gone && exit
    ! after "$limit" || break
    pause 10
  done
  gone && exit
  printf '%s %s 0 %s\n' 'time%20limit' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$kill_after" >"$run/stop"
  reap
}

# tell: TERM to those of `found` that have not had it
tell() {
  new=
  for one in $found; do
    case " $told " in *" $one "*) ;; *) new="$new $one" ;; esac
  done
  told=$told$new
  end TERM $new
}

# is_critical: the agent has asked for time less than `critical` seconds ago, and no longer than for an hour in all
is_critical() {
  [ "$critical" ] && ! after "$((drain + 3600))" || return
  made=$(stat -c %Y -- "$run/critical" 2>/dev/null) || return
  age=$(($(date +%s) - made))
  [ "$age" -lt "$critical" ] && [ "$age" -gt "-$critical" ]
}

# read_stop: what `stop` asks for; 1 if that is nothing new
read_stop() {
  l='' l2=''
  { IFS= read -r l && IFS= read -r l2; } 2>/dev/null <"$run/stop"
  [ "$l$l2" != "$asked" ] || return
  asked=$l$l2 critical=${l2#critical }
  case $critical in *[!0-9]*) critical= ;; esac
  l=${l#* }
  l=${l#* }
  drain=${l%% *} grace=${l#* }
  case $drain in '' | *[!0-9]*) drain=0 ;; esac
  case $grace in '' | *[!0-9]*) grace=30 ;; esac
}

# reap: one at a time; who comes second has changed `stop`, which the first one reads again and again
reap() {
  command exec 6>>"$run/reaper.lock" || exit
  flock -n 6 || exit
  asked=- alone=''
  while :; do
    if read_stop; then
      clock
      began=$now told='' at=''
    fi
    if [ ! "$at" ]; then
      if ! after "$drain" || is_critical; then
        [ ! -e "$run/rc" ] || ! gone || exit
        pause 1
        continue
      fi
      at=$(((now - began) / 100))
    fi
    gone && exit
    tree_of "$run" || {
      pause 1
      continue
    }
    if after "$((at + grace))"; then
      kill_tree
      signal CONT $wrapper
      # A wrapper that does not end by itself, stopped perhaps, is ended too.
      [ "$found" ] && alone=
      [ "$found" ] || alone=x$alone
      case $alone in xxxxxxxxxx*) signal KILL $wrapper ;; esac
      ! after "$((at + grace + 60))" || exit
      pause 0.5
    else
      tell
      signal CONT $wrapper
      pause 0.5
    fi
  done
}

# process: the same for a tree that is no run's, by what was found at first and what is found later
process() {
  clock
  began=$now told=
  while :; do
    members "$led" "$led_at" '' '' "$known" 1 || {
      pause 1
      continue
    }
    [ "$found" ] || exit
    known=$found
    if after "$((drain + grace))"; then
      end KILL $found
      ! after "$((drain + grace + 60))" || exit
    elif after "$drain"; then
      tell
    fi
    pause 0.5
  done
}

LC_ALL=C
export LC_ALL
umask 077
set -f
cd /
boot=$(cat /proc/sys/kernel/random/boot_id)
passed=
case $1 in
watch)
  run=$2 limit=$3 kill_after=$4
  watch
  ;;
reap)
  run=$2
  reap
  ;;
process)
  led=$2 led_at=$3 drain=$4 grace=$5 known=$6
  process
  ;;
esac
