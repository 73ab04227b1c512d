# The guard: one change to this host, fenced, locked and noted. See docs/guard.md for what it keeps and answers.
# Set before this text: home; payload_time, op_time, kill_after, keep_logs and keep_runs in seconds, lock_wait, lock_stuck
# and started_wait in 1/100 s, stale in days; for launch and stop the texts reaper, starter and wrapper. All of it and
# the call stand in one pair of braces: a cut copy is a syntax error, of which nothing is done.

nl='
'

# t COMMAND...: an external command, for at most op_time. A child must not keep the lock, nor our deafness to signals.
t() {
  (
    trap - PIPE HUP
    exec timeout -s KILL "$op_time" "$@" 9>&-
  )
}

# answer WORD [DETAIL]: the last thing that is done. The lock goes first: a reader who stalls must not keep it.
answer() {
  exec 9>&-
  case $1 in
  done | degraded | stopping) code=0 ;;
  usage) code=64 ;;
  payload) code=65 ;;
  unfit) code=69 ;;
  corrupt) code=70 ;;
  exists) code=73 ;;
  unsure) code=74 ;;
  busy | stuck) code=75 ;;
  held) code=76 ;;
  fenced) code=77 ;;
  foreign) code=78 ;;
  stale) code=79 ;;
  conflict) code=80 ;;
  *) code=71 ;;
  esac
  detail=$2
  while :; do
    case $detail in *"$nl"*) detail="${detail%%"$nl"*} ${detail#*"$nl"}" ;; *) break ;; esac
  done
  # A banner may have left the line open.
  told="${nl}begin factory-guard 1${nl}word $1$nl"
  [ "$detail" ] && told="${told}detail $detail$nl"
  [ "$has_id" ] && told="${told}host_id $has_id$nl"
  [ "$has_fleet" ] && told="${told}fleet $has_fleet$nl"
  [ "$has_epoch" ] && told="${told}epoch $has_epoch $has_holder$nl"
  printf '%s%send\n' "$told" "$listed"
  # The bytes of crontabs, which `listed` announces.
  [ ! "$raw" ] || raw
  exit "$code"
}

# is_epoch TEXT: 1 to 15 digits without a leading zero; `[` takes no longer number, and the fence would fail open.
is_epoch() {
  case $1 in '' | 0* | *[!0-9]*) return 1 ;; esac
  [ ${#1} -le 15 ]
}

# digest: the SHA-256 of standard input
digest() {
  case $sum in
  sha256sum) sha256sum ;;
  shasum) shasum -a 256 ;;
  openssl) openssl dgst -sha256 -r ;;
  esac
}

# tools: what is needed; nothing is done where one is missing
tools() {
  for tool in timeout flock setsid awk cat cmp date env head id ln mkdir mv readlink rm sleep stat sync tail tr wc; do
    command -v "$tool" >/dev/null || answer unfit "$tool is missing"
  done
  for sum in sha256sum shasum openssl ''; do
    command -v "${sum:-false}" >/dev/null && [ "$sum" ] && break
  done
  [ "$sum" ] || answer unfit 'sha256sum is missing'
  [ -r /proc/self/stat ] || answer unfit '/proc is missing'
}

# receive: the whole payload, to a variable: on a full disk it could not go anywhere else
receive() {
  payload=$(t_payload && printf x)
  case $payload in *x) ;; *) answer payload 'it did not come' ;; esac
  payload=${payload%x}
  head=${payload%%"$nl"*}
  [ "$head" != "$payload" ] || answer payload 'it came short'
  payload=${payload#*"$nl"}
  # Not by ${#}, which some shells count in characters.
  size=$(printf '%s' "$payload" | t wc -c)
  seen=$(printf '%s' "$payload" | t_digest)
  # Some wc put spaces before the number.
  [ "$((size)) ${seen%% *}" = "$head" ] || answer payload 'it came short or changed'
}

t_payload() {
  (
    trap - PIPE HUP
    exec timeout -s KILL "$payload_time" head -c 4194304
  )
}

t_digest() {
  (
    trap - PIPE HUP
    digest
  )
}

# place: home, absolute and there, on a file system whose locks and renames are what they say
place() {
  case $home in '~' | '~/'*)
    case $HOME in /*) ;; *) answer unfit 'the login has no home directory' ;; esac
    home=$HOME${home#'~'}
    ;;
  esac
  case $home in /*) ;; *) answer usage 'the home is no absolute path' ;; esac
  at=$home
  while [ ! -e "$at" ] && [ ! -h "$at" ]; do
    at=${at%/*}
    at=${at:-/}
  done
  type=$(t stat -f -c %t -- "$at") || answer unfit "$at does not answer"
  case $type in
  6969 | 517b | ff534d42 | fe534d42 | 1021997 | 65735546)
    answer unfit "$at is on a network or fuse file system (type $type), where locks do not hold"
    ;;
  esac
  [ -d "$home" ] || t mkdir -p -- "$home" || answer failed "cannot make $home"
}

# holders: who has the lock, by the kernel's word: `all` as PID:START, and `old` if one has it for too long. Whose
# descriptor shows no lock only waits; the file is believed where the kernel shows no locks at all. Who is not in the
# file, or has it with an old one, may have taken it just now: only who is seen with it for a second time is in `ends`.
holders() {
  before=$all
  all='' ends='' old='' other='' told_pid='' told_start='' told_op='' told_at='' told_since=''
  [ -f "$lock.holder" ] && IFS=' ' read -r told_pid told_start told_op told_at told_since <"$lock.holder"
  # Who waited long for the lock may have it for a moment only.
  case $told_since in *[!0-9]*) told_since= ;; esac
  clock || return
  set +f
  for d in /proc/[0-9]*; do
    pid=${d#/proc/}
    [ "$pid" != $$ ] && [ -O "$d" ] || continue
    for f in "$d"/fd/*; do
      [ "$f" -ef "$lock" ] || continue
      stat_of "$(cat "$d/stat")" || continue
      case $(cat "$d/fdinfo/${f##*/}") in
      *FLOCK*) ;;
      *) [ "$pid $start" = "$told_pid $told_start" ] || continue ;;
      esac
      all="$all $pid:$start"
      one=" $pid:$start" twice='' known=''
      case "$before " in *"$one "*) twice=1 ;; esac
      [ "$pid $start" != "$told_pid $told_start" ] || known=1 start=${told_since:-$start}
      [ "$twice$known" ] && [ $((now - start)) -ge "$lock_stuck" ] && old=1 ends=$ends$one twice=
      [ ! "$twice" ] || ends=$ends$one
      break
    done
  done
  set -f
  # One of another user can only be told about.
  [ "$told_pid" ] && [ -e "/proc/$told_pid" ] && [ ! -O "/proc/$told_pid" ] || return
  stat_of "$(cat "/proc/$told_pid/stat")" && [ "$start" = "$told_start" ] || return
  other=1
  [ $((now - ${told_since:-$start})) -lt "$lock_stuck" ] || old=1
}

# end_holders: kills all who have the lock if one of them has it for too long. The kernel then frees it, also of a
# stopped process.
end_holders() {
  holders
  [ "$old" ] || return
  for one in $ends; do
    # Its number may be another's by now.
    stat_of "$(cat "/proc/${one%:*}/stat")" && [ "$start" = "${one#*:}" ] && kill -KILL "${one%:*}"
  done
  for i in 1 2 3 4 5 6 7 8 9 10; do
    flock -n 9 && return
    sleep 0.2 || sleep 1
  done
  return 1
}

# take_lock: or the end
take_lock() {
  lock=$home/guard.lock
  # `exec` alone would end dash here, and never come to the `||`.
  command exec 9>>"$lock" || answer failed "cannot open $lock"
  flock -n 9 && return
  [ $? -eq 1 ] || answer unfit "flock does not work on $lock"
  clock || answer unfit '/proc cannot be read'
  began=$now looked=$now all=
  end_holders && return
  until flock -n 9; do
    clock
    late=
    [ $((now - began)) -lt "$lock_wait" ] || late=1
    if [ "$late" ] || [ $((now - looked)) -ge 500 ]; then
      looked=$now
      end_holders && return
    fi
    if [ "$late" ]; then
      who='another process'
      case "$other$all " in 1* | *" $told_pid:$told_start "*) who="process $told_pid ($told_op since $told_at)" ;; esac
      [ "$old" ] && answer stuck "$who holds the lock and could not be ended"
      answer busy "$who holds the lock"
    fi
    sleep 0.2 || sleep 1
  done
}

# put FILE TEXT: a synced file beside, read back, takes the place of FILE
put() {
  # mv would put it into a directory.
  [ ! -d "$1" ] && fresh "$1" "$2" && t mv -f -- "$1.new" "$1" && t sync "$home"
}

# put_once FILE TEXT: the same, exclusive and whole in one step
put_once() {
  fresh "$1" "$2" && t ln -- "$1.new" "$1" && t rm -f -- "$1.new" && t sync "$home"
}

fresh() {
  # What an end between ln and rm left is a second name of the file itself.
  [ ! -e "$1.new" ] && [ ! -h "$1.new" ] || t rm -f -- "$1.new" || return
  back=
  printf '%s\n' "$2" >"$1.new" && IFS= read -r back <"$1.new" && [ "$back" = "$2" ] && t sync "$1.new"
}

# read_fence: what fleet, epoch and host-id say. fenced: none, bad, or yes
read_fence() {
  has_id='' has_fleet='' has_epoch='' has_holder='' fleet_is=none fenced=none
  [ -f "$home/host-id" ] && IFS= read -r has_id <"$home/host-id"
  if [ -e "$home/fleet" ] || [ -h "$home/fleet" ]; then
    fleet_is=other
    [ -f "$home/fleet" ] && IFS= read -r has_fleet <"$home/fleet"
    [ "$has_fleet" = "$fleet" ] && fleet_is=ours
  fi
  if [ -e "$home/epoch" ] || [ -h "$home/epoch" ]; then
    fenced=bad line=
    [ -f "$home/epoch" ] && [ -r "$home/epoch" ] || return
    IFS= read -r line <"$home/epoch" || return
    is_epoch "${line%% *}" || return
    case ${line#* } in '' | "$line" | *[!!-~]*) return ;; esac
    # Nothing else is in there: a shell's read drops NUL, and 1<NUL>2 is not 12.
    size=$(t wc -c <"$home/epoch") && [ "$((size))" -eq $((${#line} + 1)) ] || return
    has_epoch=${line%% *} has_holder=${line#* } fenced=yes
  elif [ -e "$home/journal" ] || [ -h "$home/journal" ]; then
    fenced=bad
  fi
}

raise() {
  put "$home/epoch" "$1 $holder" || return
  has_epoch=$1 has_holder=$holder fenced=yes
}

make_fleet() {
  put_once "$home/fleet" "$fleet" || return
  has_fleet=$fleet fleet_is=ours
}

make_host_id() {
  [ ! -e "$home/host-id" ] && [ ! -h "$home/host-id" ] || return 0
  id=$(t head -c 32 /dev/urandom | t_digest)
  id=${id%% *}
  machine=
  for f in /etc/machine-id /var/lib/dbus/machine-id; do
    [ ! "$machine" ] && [ -f "$f" ] && IFS= read -r machine <"$f"
  done
  case $machine in '' | *[!0-9a-f]*) machine=- ;; esac
  case $id in '' | *[!0-9a-f]*) return 1 ;; esac
  while [ ${#id} -gt 32 ]; do id=${id%?}; done
  id="$id $machine $(t id -u)"
  put_once "$home/host-id" "$id" && has_id=$id
}

# fence: who may command this host; see the words of the answers
fence() {
  case $fleet_is in
  other) answer foreign "this host belongs to fleet ${has_fleet:-?}" ;;
  none) make_fleet || lax 'cannot write fleet' ;;
  esac
  [ "$fenced" != bad ] || answer corrupt 'its epoch is corrupt or lost'
  if [ "$fenced" = yes ]; then
    if [ "$epoch" -lt "$has_epoch" ] || { [ "$epoch" -eq "$has_epoch" ] && [ "$holder" != "$has_holder" ]; }; then
      answer fenced "epoch $has_epoch of $has_holder was here"
    fi
    [ "$epoch" -eq "$has_epoch" ] && return
  fi
  raise "$epoch" || lax 'cannot write epoch'
}

# lax WHY: what only tightens goes on without what could not be written
lax() {
  case $op in halt | stop | cancel) short=$1 ;; *) answer failed "$1" ;; esac
}

# become: this fleet's host. Between the two files stands an epoch that nobody takes for one, but this same call.
become() {
  case $fleet_is in
  none) fence ;;
  ours)
    line=
    [ "$fenced" = bad ] && [ -f "$home/epoch" ] && IFS= read -r line <"$home/epoch"
    if [ "$line" = "adopt $fleet" ]; then
      raise "$epoch" || answer failed 'cannot write epoch'
    else
      before="$has_epoch $has_holder"
      fence
      [ "$before" != "$has_epoch $has_holder" ] || unchanged=1
    fi
    ;;
  other)
    has_epoch='' has_holder=''
    put "$home/epoch" "adopt $fleet" || answer failed 'cannot write epoch'
    put "$home/fleet" "$fleet" || answer failed 'cannot write fleet'
    has_fleet=$fleet
    raise "$epoch" || answer failed 'cannot write epoch'
    ;;
  esac
}

# mend: a new epoch above all that were seen here
mend() {
  case $fleet_is in
  other) answer foreign "this host belongs to fleet ${has_fleet:-?}" ;;
  none) make_fleet || answer failed 'cannot write fleet' ;;
  esac
  if [ "$fenced" != bad ]; then
    [ "$fenced" = yes ] && unchanged=1 && return
    raise "$epoch" || answer failed 'cannot write epoch'
    return
  fi
  top=$(highest)
  is_epoch "$top" && [ "$top" -gt "$epoch" ] || top=$epoch
  top=$((top + 1))
  is_epoch "$top" || answer failed 'there is no higher epoch'
  raise "$top" || answer failed 'cannot write epoch'
}

# highest: the highest epoch in the journal; compared as text, since some awk have no such numbers
highest() {
  [ -f "$home/journal" ] && t awk '
    $2 ~ /^[1-9][0-9]*$/ && length($2) <= 15 && (length($2) > length(top) || length($2) == length(top) && ($2 "") > (top "")) { top = $2 }
    END { print top }' "$home/journal"
}

# note WORD [DETAIL]: a line in the journal, best effort
note() {
  # A journal without an epoch would mean that it was lost.
  [ "$fenced" = yes ] || return
  j=$home/journal
  [ ! -h "$j" ] && { [ ! -e "$j" ] || [ -f "$j" ]; } || return
  gap=
  if [ -f "$j" ]; then
    size=$(t wc -c <"$j") && [ "$((size))" -gt 1048576 ] && trim
    # A line that was cut must not spoil the next one.
    [ "$(t tail -c 1 "$j")" ] && gap=$nl
  fi
  printf '%s%s %s %s %s %s\n' "$gap" "$utc" "$has_epoch" "$holder" "$op" "$1${2:+ $2}" >>"$j"
}

# trim: the younger half, below a line with the highest epoch of all
trim() {
  top=$(highest)
  {
    printf '%s %s %s trim done\n' "$utc" "${top:-$epoch}" "$holder"
    # Its first line is a part of one.
    t tail -c 524288 "$j" | t awk 'NR > 1'
  } >"$j.new" && t sync "$j.new" && t mv -f -- "$j.new" "$j"
}

# list_runs: all runs and their states, to `listed`
list_runs() {
  boot=$(cat /proc/sys/kernel/random/boot_id)
  [ ! -e "$home/runs" ] || { [ -r "$home/runs" ] && [ -x "$home/runs" ]; } || answer failed "cannot read $home/runs"
  count=0
  set +f
  set -- "$home"/runs/*
  set -f
  for run do
    [ -d "$run" ] || continue
    case ${run##*/} in *[!A-Za-z0-9._-]*) continue ;; esac
    state "$run"
    listed="${listed}run ${run##*/} $s$nl"
    count=$((count + 1))
  done
  listed="${listed}runs $count$nl"
}

# path_of NAME-OR-PATH: where it lies, to `at`
path_of() {
  case $1 in
  /*) at=$1 ;;
  '~/'*)
    case $HOME in /*) at=$HOME/${1#??} ;; *) return 1 ;; esac
    ;;
  '' | .* | */*) return 1 ;;
  *) at=$home/halt/$1 ;;
  esac
  case ${at##*/} in '' | . | ..) return 1 ;; esac
}

# read_form: the payload is whole and of the form that the op takes, before anything is done
read_form() {
  ended='' inside=''
  for line do
    [ ! "$ended" ] || return
    case $op:$line in
    halt:'file '* | resume:'file '*)
      inside=file
      path_of "${line#file }" || return
      ;;
    halt:'add auto '?* | halt:'add manual '?*) [ "$inside" = file ] || return ;;
    resume:'drop auto '?* | resume:'drop manual '?* | resume:'drop foreign') [ "$inside" = file ] || return ;;
    halt:'hide /'* | halt:'hide ~/'* | resume:'show /'* | resume:'show ~/'*)
      inside=${line%% *}
      path_of "${line#* }" || return
      ;;
    resume:'unless '*)
      [ "$inside" = show ] || return
      path_of "${line#unless }" || return
      ;;
    *:end) ended=1 ;;
    *) return 1 ;;
    esac
  done
  [ "$ended" ]
}

# follow: does what the payload says
follow() {
  file='' want='' show=''
  for line do
    case $line in 'add '* | 'drop '*)
      want=$want${want:+$nl}$line
      continue
      ;;
    'unless '*)
      path_of "${line#unless }"
      [ ! -e "$at" ] && [ ! -h "$at" ] || show=
      continue
      ;;
    esac
    [ ! "$want" ] || edit
    [ ! "$show" ] || show
    want='' show=''
    case $line in
    'file '*)
      path_of "${line#file }"
      file=$at
      ;;
    'hide '*)
      path_of "${line#hide }"
      hide
      ;;
    'show '*)
      path_of "${line#show }"
      show=$at
      ;;
    esac
  done
  [ ! "$dir" ] || t sync "$dir"
}

# touched FILE: its directory is synced, once for all files in it
touched() {
  changed=1
  [ "$dir" = "${1%/*}" ] || { [ ! "$dir" ] || t sync "$dir"; }
  dir=${1%/*}
  dir=${dir:-/}
}

fail() {
  failed=$failed${failed:+; }$1
}

# edit: adds lines to a halt file, or takes them out; the file goes with its last line
edit() {
  # A person's link stays a link.
  if [ -h "$file" ] && [ -e "$file" ]; then
    file=$(t readlink -f -- "$file") && [ "$file" ] || {
      fail "cannot follow $file"
      return
    }
  fi
  size=0
  if [ -e "$file" ]; then
    [ -f "$file" ] || {
      fail "$file is no regular file"
      return
    }
    # Without NUL, which awk takes for a character or for the end of a line, and no shell takes at all: so that with
    # one the numbers do not agree.
    [ ! -s "$file" ] || size=$(($(t head -c 1048577 -- "$file" | t tr -d '\000' | t wc -c)))
  elif [ "$op" = resume ]; then
    return
  fi
  new=$(edited "$file" "$size") && [ "$new" ] || {
    fail "$file holds what is no text, or too much of it"
    return
  }
  case $new in 0*) return ;; esac
  new=${new#1}
  new=${new%x}
  if [ ! "$new" ]; then
    if t rm -f -- "$file"; then touched "$file"; else fail "cannot remove $file"; fi
    return
  fi
  [ -d "${file%/*}/" ] || t mkdir -p -- "${file%/*}" || {
    fail "cannot make ${file%/*}"
    return
  }
  sweep "${file%/*}"
  # A name that begins with a point is no halt file. Made with O_EXCL: others may write into the directory.
  beside=${file%/*}/.factory-new.$$
  if (set -C && printf '%s' "$new" >"$beside") && t sync "$beside" && t mv -f -- "$beside" "$file"; then
    touched "$file"
    return
  fi
  t rm -f -- "$beside"
  # That it is there is what halts; a full disk still takes it.
  if [ "$op" = halt ] && { [ -e "$file" ] || { true >>"$file" && touched "$file"; }; }; then
    short="cannot write $file"
    return
  fi
  fail "cannot write $file"
}

# sweep DIRECTORY: takes away what a killed guard left beside
sweep() {
  set +f
  for old_one in "$1"/.factory-new.*; do
    [ -f "$old_one" ] || continue
    case ${old_one##*.} in $$) ;; *) [ ! -e "/proc/${old_one##*.}" ] || continue ;; esac
    t rm -f -- "$old_one"
  done
  set -f
}

# edited FILE SIZE: `0` if FILE is as `want` wants it already, else `1`, its new content and `x`; all other lines stay
# byte for byte, also a last one without a line break. Nothing for what awk cannot take as it is.
edited() {
  [ "$2" -le 1048576 ] || return
  { [ ! -s "$1" ] || t head -c 1048577 -- "$1"; printf x; } | want=$want t awk -v size="$2" '
    BEGIN {
      e = "([!-$&-~]|%[0-9A-Fa-f][0-9A-Fa-f])"
      d = "[0-9]"
      at = d d d d "-(0[1-9]|1[0-2])-(0[1-9]|[12]" d "|3[01])T([01]" d "|2[0-3]):[0-5]" d ":[0-5]" d "Z"
      form = "^(auto|manual) " e "+ " e "* " at " (-|" at ") " d "+ " e "*$"
      n = split(ENVIRON["want"], asked, "\n")
      for (i = 1; i <= n; i++) {
        if (asked[i] ~ /^add /) {
          split(asked[i], part, " ")
          key = part[2] " " part[3]
          if (!(key in line)) order[++m] = key
          line[key] = substr(asked[i], 5)
        } else if (asked[i] == "drop foreign") foreign = 1
        else gone[substr(asked[i], 6)] = 1
      }
      # An empty file is the hold that is asked about.
      if (size == 0) change = 1
    }
    function take(text, end) {
      split(text, part, " ")
      key = part[1] " " part[2]
      if (text !~ form || length(part[6]) > 15) {
        if (foreign) change = 1
        else out = out text end
      } else if (key in line) {
        if ((key in there) || text != line[key] || end == "") change = 1
        if (!(key in there)) out = out line[key] "\n"
        there[key] = 1
      } else if (key in gone) change = 1
      else out = out text end
    }
    { if (NR > 1) take(last, "\n"); last = $0; seen += length($0) + 1 }
    END {
      # The x behind the content tells whether its last line has an end.
      if (seen - 2 != size || last !~ /x$/) exit 1
      last = substr(last, 1, length(last) - 1)
      tail = last
      if (tail != "") {
        split(tail, part, " ")
        key = part[1] " " part[2]
        whole = tail ~ form
        if (whole && ((key in line) || (key in gone)) || !whole && foreign) { take(tail, ""); tail = "" }
      }
      for (i = 1; i <= m; i++) if (!(order[i] in there)) { out = out line[order[i]] "\n"; change = 1 }
      if (change) printf "1%s%sx", out, tail
      else printf "0"
    }'
}

# hide: renames the file at `at` away. What was renamed away before is kept, unless it is the same.
hide() {
  held=$at.factory-held
  [ -e "$at" ] || [ -h "$at" ] || return
  if [ -e "$held" ] || [ -h "$held" ]; then
    if same "$at" "$held"; then
      if t rm -f -- "$at"; then touched "$at"; else fail "cannot remove $at"; fi
      return
    fi
    i=1
    while [ -e "$held.$i" ] || [ -h "$held.$i" ]; do i=$((i + 1)); done
    t mv -- "$held" "$held.$i" || {
      fail "cannot rename $held"
      return
    }
    kept="$kept${kept:+; }$held.$i is kept"
  fi
  if t mv -- "$at" "$held"; then touched "$at"; else fail "cannot rename $at"; fi
}

# same ONE OTHER: two plain files of one content, both programs or both not
same() {
  [ -f "$1" ] && [ ! -h "$1" ] && [ -f "$2" ] && [ ! -h "$2" ] || return
  if [ -x "$1" ]; then [ -x "$2" ]; else [ ! -x "$2" ]; fi || return
  t cmp -s -- "$1" "$2"
}

# show: renames back what was renamed away, and nothing over what is there
show() {
  held=$show.factory-held
  [ ! -e "$show" ] && [ ! -h "$show" ] || return
  [ -e "$held" ] || [ -h "$held" ] || return
  if t mv -- "$held" "$show"; then touched "$show"; else fail "cannot rename $held"; fi
}

# guard FLEET EPOCH HOLDER OP
guard() {
  [ $# -eq 4 ] || return 64
  LC_ALL=C
  PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  export LC_ALL PATH
  unset IFS CDPATH ENV
  # What the login exports under one of these names would be exported as we set it, and too long for any program.
  unset payload head value line job practices text shown copy content bytes table old_table listed told
  umask 077
  set -f
  # A lost connection must not end us halfway.
  trap '' PIPE HUP
  fleet=$1 epoch=$2 holder=$3 op=$4
  has_id='' has_fleet='' has_epoch='' has_holder='' listed='' short='' failed='' changed='' unchanged='' kept='' dir='' raw='' passed='' done=done

  is_epoch "$epoch" || answer usage 'the epoch is no number of 1 to 15 digits'
  case $fleet in '' | *[!A-Za-z0-9._-]*) answer usage 'the fleet is no id' ;; esac
  case $holder in '' | *[!!-~]*) answer usage 'the holder is no name' ;; esac
  case $op in seal | halt | resume | adopt | repair | launch | cancel | stop | gc | cron) ;; *) answer usage 'the op is not known' ;; esac
  tools
  receive
  exec </dev/null
  case $op in halt | resume)
    IFS=$nl
    set -- $payload
    unset IFS
    read_form "$@" || answer usage 'the payload is of another form'
    ;;
  launch | cancel | stop | gc)
    set --
    runs_form || answer usage 'the payload is of another form'
    ;;
  cron)
    set --
    cron_form || answer usage 'the payload is of another form'
    ;;
  *) set -- ;;
  esac

  place
  take_lock
  utc=$(t date -u +%Y-%m-%dT%H:%M:%SZ)
  both=$(cat /proc/$$/stat /proc/self/stat)
  stat_of "${both#*"$nl"}" && since=$start
  stat_of "${both%%"$nl"*}" && printf '%s %s %s %s %s\n' $$ "$start" "$op" "$utc" "$since" >"$lock.holder"
  read_fence
  case $op in
  adopt) become ;;
  repair) mend ;;
  *) fence ;;
  esac
  make_host_id || lax 'cannot write host-id'
  case $op in
  seal) list_runs ;;
  halt | resume)
    umask 022
    follow "$@"
    umask 077
    [ "$op" = resume ] || runs_halted
    [ "$changed" ] || unchanged=1
    ;;
  launch | cancel | stop | gc) "runs_$op" ;;
  cron) cron_op ;;
  esac

  word=$done detail=${unchanged:+unchanged}
  [ ! "$kept" ] || detail=$kept
  [ ! "$short" ] || word=degraded detail=$short
  [ ! "$failed" ] || word=failed detail=$failed
  note "$word" "$detail"
  answer "$word" "$detail"
}
