# Crontabs: what is in them, and a whole new one in the place of one that is still as it was. See docs/guard.md.
# Set before this text: cron_backups, and cron_days.

# cron_form: the payload is of the form that the op takes. Its words to `cron_verb`, `cron_what` and `cron_before`.
cron_form() {
  case $payload in
  "read$nl") cron_verb=read ;;
  'write '*"$nl"*)
    cron_verb=write
    cron_what=${payload%%"$nl"*}
    cron_what=${cron_what#write }
    cron_before=${cron_what#* }
    cron_what=${cron_what%% *}
    case $cron_before in -) ;; *[!0-9a-f]*) return 1 ;; *) [ ${#cron_before} -eq 64 ] || return ;; esac
    case ${cron_what#/etc/cron.d/factory-} in
    "$cron_what") [ "$cron_what" = user ] || return ;;
    '' | *[!A-Za-z0-9_-]*) return 1 ;;
    esac
    content=${payload#*"$nl"}
    ;;
  *) return 1 ;;
  esac
}

cron_op() {
  # By its path: some BusyBox starts its own in the place of any other.
  crontab=
  IFS=:
  for d in $PATH; do
    [ "$crontab" ] || [ ! -f "${d:-.}/crontab" ] || [ ! -x "${d:-.}/crontab" ] || crontab=${d:-.}/crontab
  done
  unset IFS
  [ "$crontab" ] || answer unfit 'crontab is missing'
  unset CRONTAB_NOHEADER
  # Answers are told by their text.
  unset LANGUAGE
  uid=$(t id -u) && login=$(t id -un) || answer failed 'id does not tell who this is'
  bytes='' forgotten=''
  if [ "$cron_verb" = read ]; then
    unchanged=1
    quiet || return
    user_table || return
    [ ! "$there" ] || show_table user
    [ "$uid" != 0 ] || system_tables
    return
  fi
  [ -d "$home/cron" ] || t mkdir -p -- "$home/cron" || {
    fail "cannot make $home/cron"
    return
  }
  case $cron_what in user) write_user ;; *) write_system ;; esac
}

# raw: the bytes of the tables that `listed` announces
raw() {
  printf '%s' "$bytes"
}

# show_table WORD: `table` goes into the answer
show_table() {
  size=$(printf '%s' "$table" | t wc -c)
  listed="${listed}table $((size)) $1$nl"
  bytes=$bytes$table raw=raw
}

# sum_of TEXT: its SHA-256
sum_of() {
  text_sum=$(printf '%s' "$1" | t_digest)
  printf '%s' "${text_sum%% *}"
}

# brief TEXT: its begin; crontab has a word for each bad line
brief() {
  printf '%s' "$1" | t head -c 400
}

conflict() {
  done=conflict kept=$1
}

# editors: the processes that edit this crontab now, as PID:START: to `busy`, and to `forgotten` those that have been at
# it for so long that they do not stop us. The program runs with other rights than ours, so it is told by its status.
editors() {
  busy='' forgotten=''
  clock
  set +f
  for d in /proc/[0-9]*; do
    name=
    { IFS= read -r name <"$d/comm"; } 2>/dev/null
    [ "$name" = crontab ] || continue
    of=
    while read -r key value more; do
      case $key$value in State:Z) break ;; Uid:*) of=$value && break ;; esac
    done 2>/dev/null <"$d/status"
    case $of in
    '') continue ;;
    "$uid") ;;
    0)
      # Root, who edits the table of another.
      args=$(t tr '\000' ' ' <"$d/cmdline")
      case " $args" in *" -u $login "* | *" -u$login "*) ;; *) continue ;; esac
      ;;
    *) continue ;;
    esac
    stat_of "$(cat "$d/stat")" || continue
    if [ $((now - start)) -ge "$lock_stuck" ]; then
      forgotten="$forgotten ${d#/proc/}:$start"
    else
      busy="$busy ${d#/proc/}:$start"
    fi
  done 2>/dev/null
  set -f
}

# quiet: waits for a moment until nobody edits; else it is a conflict
quiet() {
  clock
  began=$now
  editors
  while [ "$busy" ]; do
    if [ $((now - began)) -ge 200 ]; then
      conflict "process ${busy#?} edits the crontab"
      return 1
    fi
    sleep 0.1 || sleep 1
    editors
  done
}

# listing: what `crontab -l` shows, with `x` and its exit status behind
listing() {
  t "$crontab" -l 2>/dev/null
  printf x$?
}

# user_table: the crontab of the login to the byte, to `table`; `there` is empty where there is none
user_table() {
  table='' there=''
  # Debian puts three comment lines before a table and leaves them out here, but leaves out others as well when
  # a table has come to the spool without them.
  full=$(
    export CRONTAB_NOHEADER=N
    listing
  )
  if [ "${full##*x}" != 0 ]; then
    # Its exit status is 1 for every reason.
    said=$(t "$crontab" -l 2>&1) && said='not the same twice'
    case $said in
    'no crontab for '* | *"can't open '"*"': No such file"*) return 0 ;;
    *)
      fail "crontab -l: $(brief "$said")"
      return 1
      ;;
    esac
  fi
  full=${full%x0}
  shown=$(listing)
  nul=$(
    export CRONTAB_NOHEADER=N
    t "$crontab" -l 2>/dev/null | t tr -cd '\000' | t wc -c
  )
  [ "${shown##*x} $((nul))" = '0 0' ] || {
    fail 'the crontab cannot be read, or holds NUL'
    return 1
  }
  shown=${shown%x0}
  # Never by `%`, which compares a long text once for each of its bytes.
  head='' rest=$full
  for i in 1 2 3; do
    [ "$rest" != "$shown" ] || break
    head=$head${rest%%"$nl"*}$nl
    rest=${rest#*"$nl"}
  done
  [ "$rest" = "$shown" ] || {
    conflict 'the crontab changes while it is read'
    return 1
  }
  case $head in
  '# DO NOT EDIT THIS FILE - edit the master and reinstall.'"$nl"'# ('*' installed on '*")$nl# (Cron version "*"$nl") head= ;;
  esac
  there=1 table=$head$shown
  # Debian shows a CR and a BS as two characters each. What shows one as it is shows all so.
  cr=$(printf '\r') bs=$(printf '\b')
  case $table in *"$cr"* | *"$bs"*) return 0 ;; *\\[rb]*) ;; *) return 0 ;; esac
  case $(t readlink -f -- "$crontab") in */busybox*) return 0 ;; esac
  case $head in *\\[rb]*)
    fail 'the first lines of the crontab hold what crontab does not show as it is'
    return 1
    ;;
  esac
  # An editor gets the bytes; this one shows them and fails: after one that did well some put the table in place again,
  # though nothing was changed, and over what somebody else has just put there.
  copy=$(
    EDITOR='shown() { cat -- "$1" && printf y; exit 1; }; shown'
    VISUAL=$EDITOR
    export VISUAL EDITOR
    t "$crontab" -e 2>/dev/null
    printf x$?
  )
  case $copy in *yx[!0]*) ;; *)
    fail 'the crontab holds CR or BS, and crontab -e does not show it'
    return 1
    ;;
  esac
  copy=${copy%yx*}
  many=$(printf '%s' "$copy" | t tr -cd '\r\b' | t wc -c)
  size=$(printf '%s' "$copy" | t wc -c)
  [ $((size + many)) -eq "$(($(printf '%s' "$shown" | t wc -c)))" ] || {
    conflict 'the crontab changes while it is read'
    return 1
  }
  table=$head$copy
}

# system_tables: all /etc/cron.d/factory-* that cron reads go into the answer
system_tables() {
  set +f
  set -- /etc/cron.d/factory-*
  set -f
  for file do
    case ${file#/etc/cron.d/factory-} in '' | *[!A-Za-z0-9_-]*) continue ;; esac
    [ -f "$file" ] || continue
    system_table "$file" || return
    show_table "$file"
  done
}

# system_table FILE: its bytes, to `table`; `there` is empty where there is none
system_table() {
  table='' there=''
  [ -e "$1" ] || [ -h "$1" ] || return 0
  table=$([ -f "$1" ] && t head -c 2097153 -- "$1" && printf x)
  table=${table%x}
  # NUL gets lost on the way here.
  size=$(printf '%s' "$table" | t wc -c)
  [ -f "$1" ] && [ "$((size))" -le 2097152 ] && [ "$((size))" -eq "$(($(t head -c 2097153 -- "$1" | t wc -c)))" ] || {
    fail "$1 is no text, or too much of it"
    return 1
  }
  there=1
}

# is_before WORD: `table` is what the caller saw; else it gets to see what is there now
is_before() {
  if [ "$there" ]; then [ "$(sum_of "$table")" = "$cron_before" ]; else [ "$cron_before" = - ]; fi && return
  conflict "$2 is not what it was"
  [ ! "$there" ] || show_table "$1"
  return 1
}

# nothing_new: the table is already what it should be; an empty one is none
nothing_new() {
  [ "$table" = "$content" ] && { [ "$content" ] || [ ! "$there" ]; } && unchanged=1
}

# store FILE TEXT: exactly that, whole, synced and read back
store() {
  # shellcheck disable=SC2094
  printf '%s' "$2" >"$1.new" && t sync "$1.new" && [ "$(t_digest <"$1.new")" = "$(printf '%s' "$2" | t_digest)" ] && t mv -f -- "$1.new" "$1" && t sync "${1%/*}"
}

# backup NAME: `table` as it was, under a name that sorts by time; the first of all is never removed
backup() {
  stamp=$(t date -u +%Y%m%dT%H%M%SZ) || return
  set +f
  set -- "$1" "$home"/cron/*."$1".first
  set -f
  [ -e "$2" ] && first= || first=.first
  saved=$home/cron/$stamp.$1$first
  store "$saved" "$table" || return
  [ ! "$first" ] || return 0
  # The last `cron_backups`, and the first of each of the last `cron_days` days.
  since=$(t date -u +%s) && since=$(t date -u -d "@$((since - cron_days * 86400))" +%Y%m%d) || return 0
  set +f
  set -- "$home"/cron/[0-9]*."$1"
  set -f
  last=
  for each do
    day=${each##*/}
    day=${day%%T*}
    left=$#
    shift
    case $day in *[!0-9]* | '') continue ;; esac
    if [ "$left" -gt "$cron_backups" ] && [ "$each" != "$saved" ] && { [ "$day" = "$last" ] || [ "$day" -lt "$since" ]; }; then
      t rm -f -- "$each"
    fi
    last=$day
  done
}

# next_second: cron tells tables apart by the second in which they were written, and we our backups: two of ours never
# share one
next_second() {
  before_now=
  [ -f "$home/cron/written" ] && IFS= read -r before_now <"$home/cron/written"
  [ "$before_now" != "$(t date +%s)" ] || sleep 1
}

written() {
  t date +%s >"$home/cron/written"
}

# write_user: `content` becomes the crontab of the login
write_user() {
  quiet || return
  as_it_was=$(snapshot)
  user_table && is_before user 'the crontab' || return
  ! nothing_new || return 0
  new=$home/cron/next old_table=$table
  if [ "$content" ]; then
    store "$new" "$content" || {
      fail "cannot write $new"
      return
    }
    # Elsewhere -n is something else.
    case $(t "$crontab" -h 2>&1) in *'dry run'*)
      said=$(t "$crontab" -n "$new" 2>&1) || {
        fail "crontab refuses it: $(brief "$said")"
        t rm -f -- "$new"
        return
      }
      ;;
    esac
  fi
  next_second
  backup user || {
    fail "cannot write a backup to $home/cron"
    return
  }
  put_in_place
  t rm -f -- "$new"
}

# snapshot: all that crontab says of the table, for comparison alone
snapshot() {
  export CRONTAB_NOHEADER=N
  t "$crontab" -l 2>&1
  printf x$?
}

# put_in_place: nobody may have changed the table since it was compared. There is no lock: so nobody edits before we
# compare again, nobody has come until we install, and that takes no longer than a person does who comes, saves and
# goes: a quarter of a second, and a whole one where the host is slow, as it is for people too.
put_in_place() {
  clock
  tried=$now brisk=25
  while :; do
    quiet || return
    looked=$now at_it=$forgotten
    [ "$(snapshot)" = "$as_it_was" ] || {
      conflict 'the crontab was changed meanwhile'
      user_table && [ "$there" ] && show_table user
      return
    }
    editors
    # Whoever came behind this look is seen by none, and a look may take long.
    clock
    [ "$busy" ] || [ "$at_it" != "$forgotten" ] || [ $((now - looked)) -ge "$brisk" ] || break
    [ $((now - tried)) -lt 100 ] || brisk=100
    [ $((now - tried)) -lt 200 ] || {
      conflict 'the crontab is being edited, or the host is too slow to change it safely'
      return
    }
  done
  said=$(if [ "$content" ]; then t "$crontab" "$new" 2>&1; else t "$crontab" -r 2>&1; fi)
  # What it ends with is not asked: where the disk is full, that of BusyBox puts in place what it could write of it.
  written
  user_table || return
  if [ "$table" = "$content" ] && { [ ! "$content" ] || [ "$there" ]; }; then
    # Who came just now has the old one, and will bring it back.
    editors
    [ ! "$busy" ] || kept="process ${busy#?} edits the crontab"
    return
  fi
  if [ "$(snapshot)" = "$as_it_was" ]; then
    fail "crontab did not take it: $(brief "$said")"
    return
  fi
  case ${said:+$there}$content in "1$table"*)
    store "$new" "$old_table" && t "$crontab" "$new" >/dev/null 2>&1
    user_table
    if [ "$table" = "$old_table" ]; then
      fail "crontab did not take all of it, so the old one was put back: $(brief "$said")"
    else
      fail "crontab did not take all of it; the old one is in $saved: $(brief "$said")"
    fi
    return
    ;;
  esac
  conflict 'the crontab was changed right after us'
  [ ! "$there" ] || show_table user
}

# write_system: `content` becomes the file `cron_what`; a name with a point in it is nothing to cron
write_system() {
  [ "$uid" = 0 ] || {
    fail "$cron_what is root's"
    return
  }
  command -v chmod >/dev/null && command -v chown >/dev/null || answer unfit 'chmod or chown is missing'
  file=$cron_what
  if [ -h "$file" ]; then
    file=$(t readlink -f -- "$file") && [ "$file" ] || {
      fail "cannot follow $cron_what"
      return
    }
  fi
  system_table "$file" && is_before "$cron_what" "$cron_what" || return
  ! nothing_new || return 0
  old=$table$there mode=644 owner=0:0
  next_second
  backup "${cron_what##*/}" || {
    fail "cannot write a backup to $home/cron"
    return
  }
  if [ "$there" ]; then
    mode=$(t stat -c %a -- "$file") && owner=$(t stat -c %u:%g -- "$file") || {
      fail "cannot look at $file"
      return
    }
  fi
  sweep "${file%/*}"
  beside=${file%/*}/.factory-new.$$
  if [ ! "$content" ] || { (set -C && printf '%s' "$content" >"$beside") && t chown "$owner" "$beside" && t chmod "$mode" "$beside" && t sync "$beside" && [ "$(t_digest <"$beside")" = "$(printf '%s' "$content" | t_digest)" ]; }; then
    system_table "$file" || return
    if [ "$table$there" != "$old" ]; then
      t rm -f -- "$beside"
      conflict "$cron_what was changed meanwhile"
      [ ! "$there" ] || show_table "$cron_what"
      return
    fi
    if if [ "$content" ]; then t mv -f -- "$beside" "$file"; else t rm -f -- "$file"; fi; then
      written
      t sync "${file%/*}"
      return
    fi
  fi
  t rm -f -- "$beside"
  fail "cannot write $file"
}
