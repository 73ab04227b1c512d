# Runs: launch, cancel, stop and gc, each under the lock. See docs/guard.md.

# number TEXT: digits, at most 9 of them but for memory, 15
number() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ ${#1} -le "${2:-9}" ]
}

# day_of YYYYMMDD: its number, to `day`; not for a date that there is not
day_of() {
  case $1 in [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]) ;; *) return 1 ;; esac
  l=${1#????}
  # A leading zero would make it octal.
  y=$((1${1%????} - 10000)) m=$((1${l%??} - 100)) d=$((1${l#??} - 100))
  [ "$y" -ge 1970 ] && [ "$m" -ge 1 ] && [ "$m" -le 12 ] && [ "$d" -ge 1 ] || return
  case $m in
  4 | 6 | 9 | 11) last=30 ;;
  2) last=$((y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 29 : 28)) ;;
  *) last=31 ;;
  esac
  [ "$d" -le "$last" ] || return
  # The year begins in March.
  [ "$m" -gt 2 ] || { y=$((y - 1)) m=$((m + 12)); }
  day=$((365 * y + y / 4 - y / 100 + y / 400 + (153 * (m - 3) + 2) / 5 + d))
}

# token_form TOKEN: its day goes to `day`
token_form() {
  case $1 in ????????-?*) ;; *) return 1 ;; esac
  case $1 in *[!A-Za-z0-9._-]*) return 1 ;; esac
  [ ${#1} -le 128 ] && day_of "${1%%-*}"
}

# today: its number, to `day`, of `utc`
today() {
  l=${utc%%T*}
  y=${l%%-*}
  l=${l#*-}
  day_of "$y${l%-*}${l#*-}" || answer failed 'date does not tell the date'
}

# is_stale: the day of the last token_form is too long ago to be launched
is_stale() {
  token_day=$day
  today
  [ $((day - token_day)) -gt "$stale" ]
}

# quote TEXT: in quotes, to `q`
quote() {
  q='' rest=$1
  while :; do
    case $rest in *"'"*) ;; *) break ;; esac
    q="$q${rest%%"'"*}'\\''"
    rest=${rest#*"'"}
  done
  q="'$q$rest'"
}

# decoded TEXT: without its percent signs, to `at`
decoded() {
  at='' rest=$1
  while :; do
    case $rest in *%[0-9A-F][0-9A-F]*) ;; *) break ;; esac
    at=$at${rest%%"%"*}
    rest=${rest#*"%"}
    l=$((0x${rest%"${rest#??}"}))
    # A trailing line break would be lost, and cannot be there.
    at=$at$(printf "\\$((l / 64))$((l / 8 % 8))$((l % 8))")
    rest=${rest#??}
  done
  at=$at$rest
}

# held SPEC: what holds the run with this spec, to `by`; 1: nothing does, and `by` is empty
held() {
  by='' agent='' repo='' files='' actives=''
  IFS=$nl
  for line in $1; do
    case $line in
    'agent '*) agent=${line#* } ;;
    'repo '*) repo=${line#* } ;;
    'file '*) files=$files${line#* }$nl ;;
    'active '*) actives=$actives${line#* }$nl ;;
    esac
  done
  decoded "$agent" && agent=$at
  decoded "$repo" && repo=$at
  if [ -e "$home/halt" ] && { [ ! -r "$home/halt" ] || [ ! -x "$home/halt" ]; }; then by="$home/halt cannot be read"; fi
  for at in "$home/halt/$agent" "$home/halt/$agent@$repo"; do
    if [ -e "$at" ] || [ -h "$at" ]; then by="$at is there"; fi
  done
  for line in $files; do
    decoded "$line"
    path_of "$at" || by="$at is no path"
    if [ -e "$at" ] || [ -h "$at" ]; then by="$at is there"; fi
  done
  for line in $actives; do
    decoded "$line"
    path_of "$at" || by="$at is no path"
    [ -e "$at" ] || by="$at is not there"
  done
  unset IFS
  [ "$by" ]
}

# runs_form: the payload is of the form that the op takes. By words that are lines: to cut a long text at its first line
# break takes some shells the square of its length.
runs_form() {
  token='' limit='' memory='' spec='' job='' practices='' by='' drain='' grace='' critical='' its_pid='' its_start='' text='' fetched='' ended=''
  IFS=$nl
  set -- $payload
  unset IFS
  for line do
    [ ! "$ended" ] || return
    value=${line#* }
    case $op:$line in
    gc:'fetched '*) fetched=$fetched$value$nl ;;
    launch:'token '* | cancel:'token '* | stop:'token '*) token=$value ;;
    launch:'limit '*) limit=$value ;;
    launch:'memory '*) memory=$value ;;
    launch:'fleet '* | launch:'task '* | launch:'repo '* | launch:'agent '* | launch:'attempt '* | launch:'arg '* | \
      launch:'file '* | launch:'active '*)
      case $value in *[!!-~]*) return 1 ;; esac
      spec=$spec$line$nl
      ;;
    launch:"job='"*"'") job=$line ;;
    launch:'practices '?*) practices=$value ;;
    stop:'process '*) its_pid=${value% *} its_start=${value#* } ;;
    stop:'text '*) text=$value ;;
    stop:'by '*) by=$value ;;
    stop:'drain '*) drain=$value ;;
    stop:'grace '*) grace=$value ;;
    stop:critical) critical="critical $critical_age" ;;
    *:end) ended=1 ;;
    *) return 1 ;;
    esac
  done
  [ "$ended" ] || return
  case $op in
  gc) return 0 ;;
  stop)
    case $by in '' | *[!!-~]*) return 1 ;; esac
    number "$drain" && number "$grace" || return
    if [ "$its_pid" ]; then
      [ ! "$token" ] && number "$its_pid" && number "$its_start" 15 && [ "$text" ]
      return
    fi
    ;;
  launch)
    number "$limit" && [ "$limit" -gt 0 ] && number "$memory" 15 && [ "$job" ] || return
    case $nl$spec in *"${nl}agent "*) ;; *) return 1 ;; esac
    case $nl$spec in *"${nl}repo "*) ;; *) return 1 ;; esac
    ;;
  esac
  token_form "$token"
}

# tell: the run that it is about, as it is now
tell() {
  state "$run"
  listed="run $token $s${nl}runs 1$nl"
}

# the_run: what is known of `token`
the_run() {
  run=$home/runs/$token s=CREATED
  sweep_jobs
  boot=$(cat /proc/sys/kernel/random/boot_id)
  listed="runs 0$nl"
  if [ -e "$run" ] || [ -h "$run" ]; then tell; fi
}

# sweep_jobs: a call that was killed may have left what holds secrets
sweep_jobs() {
  set +f
  for old_one in "$home"/runs/*/.job; do
    [ ! -e "$old_one" ] || t rm -f -- "$old_one"
  done
  set -f
}

# detached COMMAND...: in a session of its own, by its standard input and nothing else of ours; the second setsid is the
# leader already, so it forks, and `&` would leave the command deaf to INT
detached() {
  (
    trap - PIPE HUP
    exec setsid setsid env -i HOME="$HOME" PATH="$PATH" "$@" >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
  )
}

# slot RUN: takes its one slot, if it is free. On a full disk there is still room for an empty file.
slot() {
  (printf 'cancelled %s %s\n' "$utc" "$holder" >"$1/.started.$$") && t sync "$1/.started.$$" &&
    t ln -- "$1/.started.$$" "$1/started" && t rm -f -- "$1/.started.$$" && t sync "$1" && return
  t rm -f -- "$1/.started.$$"
  [ ! -e "$1/started" ] && (set -C && : >"$1/started") && t sync "$1" && short="cannot write $1/started"
}

# make_run: its directory
make_run() {
  [ -d "$run" ] || t mkdir -p -- "$run" || {
    fail "cannot make $run"
    return 1
  }
}

# put_practices: what the run is to keep to, whole before it can begin
put_practices() {
  [ "$practices" ] || return 0
  (printf '%b' "$practices" >"$run/.practices") && t sync "$run/.practices" &&
    t mv -f -- "$run/.practices" "$run/practices.md" && return
  t rm -f -- "$run/.practices"
  fail "cannot write $run/practices.md"
  return 1
}

runs_launch() {
  the_run
  if is_stale; then
    done=stale kept="its day is more than $stale days ago"
    return
  fi
  if [ "$s" != CREATED ]; then
    done=exists
    return
  fi
  if held "$spec"; then
    done=held kept=$by
    return
  fi
  case $(command -v printf) in */*)
    # Secrets would stand in its arguments.
    fail 'this shell has no printf of its own'
    return
    ;;
  esac
  user=$(t id -un) || user=$(t id -u)
  make_run || return
  text="${spec}limit $limit${nl}by $holder${nl}utc $utc$nl"
  (printf '%s' "$text" >"$run/.spec") && t sync "$run/.spec" && t mv -f -- "$run/.spec" "$run/spec" &&
    t sync "$home/runs" "$home" || {
    fail "cannot write $run/spec"
    return
  }
  put_practices || return
  text="{${nl}limit=$limit kill_after=$kill_after memory=$memory$nl"
  for one in run home user reaper starter; do
    eval "quote \"\$$one\""
    text=$text$one=$q$nl
  done
  (printf '%s' "$text$job$nl$wrapper${nl}wrapper$nl}$nl" >"$run/.job") && command exec 5<"$run/.job" || {
    t rm -f -- "$run/.job"
    fail "cannot write $run/.job"
    return
  }
  # Whoever ends us now leaves no name of it.
  t rm -f -- "$run/.job" && [ ! -e "$run/.job" ] || {
    exec 5<&-
    fail "cannot remove $run/.job"
    return
  }
  detached sh -s -- "$run" <&5
  exec 5<&-
  clock
  began=$now
  until [ -e "$run/started" ] || [ $((now - began)) -ge "$started_wait" ]; do
    t sleep 0.05 || t sleep 1
    clock
  done
  tell
  [ "$s" != CREATED ] || done=unsure
}

runs_cancel() {
  the_run
  case $s in
  CANCELLED) unchanged=1 ;;
  CREATED)
    # Where its records are gone it may live all the same.
    if [ ! -d "$run" ]; then
      leftovers || {
        fail "cannot tell whether anything of run $token lives"
        return
      }
      case $tokens in *" $token "*)
        fail "something of run $token lives, but $run is gone"
        return
        ;;
      esac
    fi
    make_run || return
    slot "$run" || :
    t sync "$home/runs"
    tell
    case $s in
    CANCELLED) ;;
    CREATED) fail "cannot write $run/started" ;;
    # A wrapper in flight was first.
    *) done=exists ;;
    esac
    ;;
  *) done=exists ;;
  esac
}

# runs_halted: what was launched and has not begun, and is held now, never begins
runs_halted() {
  set +f
  for run in "$home"/runs/*/spec; do
    set -f
    run=${run%/spec}
    [ -f "$run/spec" ] && [ ! -e "$run/started" ] && [ ! -h "$run/started" ] || continue
    held "$(t cat "$run/spec")" || continue
    slot "$run" || [ -e "$run/started" ] || t mv -- "$run" "${run%/*}/.held.${run##*/}.$$" || fail "cannot hold $run"
    changed=1
  done
  set -f
}

runs_stop() {
  if [ "$its_pid" ]; then
    stop_process
    return
  fi
  the_run
  if [ ! -d "$run" ]; then
    unchanged=1
    return
  fi
  if [ "$s" = CREATED ]; then
    slot "$run" || :
    tell
    case $s in CREATED) fail "cannot write $run/started" ;; esac
  else
    case $s in RUNNING | *LEFTOVER | UNKNOWN) ;; *) unchanged=1 ;; esac
  fi
  case $s in RUNNING | *LEFTOVER | UNKNOWN) ;; *) return ;; esac
  # The same again does not begin its time anew.
  l='' l2=''
  { IFS= read -r l && IFS= read -r l2; } 2>/dev/null <"$run/stop"
  if [ "$l2" != "$critical" ] || [ "${l%% *}" != "$by" ] || [ "${l#* * }" != "$drain $grace" ]; then
    text="$by $utc $drain $grace$nl$critical"
    (printf '%s\n' "$text" >"$run/.stop") && t sync "$run/.stop" && t mv -f -- "$run/.stop" "$run/stop" || {
      t rm -f -- "$run/.stop"
      short="cannot write $run/stop"
      : >>"$run/stop" || :
    }
  fi
  # It sends the TERM too: whoever ends us now, what was begun goes on.
  printf '%s\n' "$reaper" | detached sh -s -- reap "$run"
  done=stopping
  [ "$drain$grace$critical" = 00 ] || return
  clock
  began=$now
  while [ $((now - began)) -lt 300 ]; do
    tree_of "$run" && kill_tree
    passed=
    tell
    case $s in
    *LEFTOVER) ;;
    DONE* | CRASHED | REBOOTED)
      done=done
      return
      ;;
    esac
    t sleep 0.1 || t sleep 1
    clock
  done
}

# stop_process: a process that we did not start, with its session and tree
stop_process() {
  listed="runs 0$nl"
  l=
  { IFS= read -r l; } 2>/dev/null <"/proc/$its_pid/stat"
  case ${l##*) } in '' | [ZXx]*) unchanged=1 ;; esac
  stat_of "$l" && [ "$start" = "$its_start" ] || unchanged=1
  [ ! "$unchanged" ] || return
  led=$sid has_tty=$tty
  [ -O "/proc/$its_pid" ] || { fail "process $its_pid is another user's" && return; }
  [ "$has_tty" = 0 ] || { fail "process $its_pid has a terminal: it is a person's" && return; }
  case $(t tr '\000\n' '  ' <"/proc/$its_pid/cmdline") in
  *"$text"*) ;;
  *)
    fail "the command line of process $its_pid is another"
    return
    ;;
  esac
  # It may be a run's whose login is this one.
  l=$(t tr '\000' '\n' <"/proc/$its_pid/environ" | t awk '/^FACTORY_RUN=[A-Za-z0-9._-]+$/ { print substr($0, 13); exit }')
  [ ! "$l" ] || [ ! -d "$home/runs/$l" ] || { fail "process $its_pid is of run $l" && return; }
  # A leader that is above it may be a daemon with other jobs in its session: then only what descends from it is its own.
  led_at=0 l=
  { IFS= read -r l; } 2>/dev/null <"/proc/$led/stat"
  case ${l##*) } in '' | [ZXx]*) ;; *)
    stat_of "$l" && led_at=$start
    [ "$led" = "$its_pid" ] || led=0
    ;;
  esac
  members "$led" "$led_at" '' '' "$its_pid:$its_start" 1 || { fail 'cannot read /proc' && return; }
  if [ ! "$found" ]; then
    unchanged=1
    return
  fi
  printf '%s\n' "$reaper" | detached sh -s -- process "$led" "$led_at" "$drain" "$grace" "$found"
  done=stopping
  [ "$drain$grace" = 00 ] || return
  clock
  began=$now
  while [ $((now - began)) -lt 300 ]; do
    end KILL $found
    members "$led" "$led_at" '' '' "$found" 1 || break
    if [ ! "$found" ]; then
      done=done
      return
    fi
    t sleep 0.1 || t sleep 1
    clock
  done
}

# runs_gc: what is not needed any more of runs that are over, as much of it as there is time for
runs_gc() {
  unchanged=1
  [ -d "$home/runs" ] || return
  sweep_jobs
  boot=$(cat /proc/sys/kernel/random/boot_id)
  clock
  began=$now
  set +f
  for run in "$home"/runs/*; do
    set -f
    [ ! -e "$run/empty" ] && [ -d "$run" ] || continue
    token_form "${run##*/}" || continue
    state "$run"
    case $s in
    *LEFTOVER) ;;
    DONE* | CRASHED | REBOOTED | CANCELLED) (: >"$run/empty") && unchanged= ;;
    esac
    clock
    [ $((now - began)) -lt 200 ] || break
  done
  today
  seconds=$(t date +%s)
  number "$seconds" 12 || answer failed 'date does not tell the time'
  # What was fetched is no part of an environment nor of arguments, which have a bound: hosts keep thousands of runs. Only a
  # list with its end is one.
  list=$(
    cd "$home/runs" || exit
    set +f
    {
      printf '%s\n' "$fetched" .
      for one in '' /started /empty /rc /out.log /err.log; do
        t stat -c '%Y %s %n' -- *$one 2>/dev/null
        [ $? -le 1 ] || exit
      done
      printf '.\n'
    } | t awk -v today="$day" -v now="$seconds" -v stale="$stale" -v keep_logs="$keep_logs" -v keep_runs="$keep_runs" '
      function day_of(t,   y, m, d) {
        y = substr(t, 1, 4) + 0; m = substr(t, 5, 2) + 0; d = substr(t, 7, 2) + 0
        if (m <= 2) { y--; m += 12 }
        return 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * (m - 3) + 2) / 5) + d
      }
      $0 == "." { marks++; next }
      !marks { if (NF == 3) { out[$1] = $2; err[$1] = $3 }; next }
      NF == 3 && $3 ~ /^[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]-[A-Za-z0-9._-]+(\/(started|empty|rc|out\.log|err\.log))?$/ {
        split($3, w, "/"); at[w[1], w[2]] = $1; size[w[1], w[2]] = $2; token[w[1]] = 1
      }
      END {
        for (t in token) {
          old = today - day_of(t) > stale
          if (!((t, "started") in at)) { if (old) print t "/"; continue }
          if (!((t, "empty") in at)) continue
          ended = (t, "rc") in at ? at[t, "rc"] : at[t, "empty"]
          if (old && now - ended > keep_runs) print t "/"
          else if (((t, "out.log") in at) || ((t, "err.log") in at)) {
            if (now - ended > keep_logs || (t in out) && out[t] >= size[t, "out.log"] + 0 && err[t] >= size[t, "err.log"] + 0)
              print t
          }
        }
        if (marks > 1) print "."
      }'
  )
  case $nl$list in
  *"$nl".) ;;
  *)
    fail 'cannot look through the runs'
    list=
    ;;
  esac
  for one in ${list%.}; do
    unchanged=
    case $one in
    */)
      one=${one%/}
      # What is half removed must not look like a run.
      t mv -- "$home/runs/$one" "$home/runs/.gone.$one" || fail "cannot remove $home/runs/$one"
      ;;
    *)
      t rm -f -- "$home/runs/$one/out.log" "$home/runs/$one/err.log" "$home/runs/$one/practices.md" ||
        fail "cannot remove the logs of $one"
      ;;
    esac
    clock
    [ $((now - began)) -lt 400 ] || break
  done
  set +f
  for one in "$home"/runs/.gone.* "$home"/runs/.held.*; do
    [ ! -d "$one" ] || [ $((now - began)) -ge 450 ] || t rm -rf -- "$one" || fail "cannot remove $one"
    clock
  done
  set -f
}
