# The processes of a tree, and signals to them.

# members SID START TOKEN PIDS KNOWN NOTTY: to `found`, as PID:START words, the processes of the session SID whose leader
# began at START, without that leader if it is a wrapper's (TOKEN is given); those with TOKEN in their environment; PIDS;
# KNOWN, words of the same form; and all that descend from them. Neither this process nor what it started. With NOTTY, a
# session with a terminal is left alone. Fails if it cannot be told.
members() {
  found=$(processes | awk -v sid="$1" -v start="$2" -v token="$3" -v pids="$4" -v known="$5" -v notty="$6" -v self=$$ '
    !part && $0 == "" { part = 1; next }
    !part {
      pid = $1; sub(/^.*\) /, ""); split($0, f, " ")
      if (NR == 1 || f[1] ~ /[ZXx]/) next
      parent[pid] = f[2]; session[pid] = f[4]; at[pid] = f[20]
      if (f[4] == sid && f[5] != 0) terminal = 1
      next
    }
    /^==> ([0-9]+\/environ|\/dev\/null) <==$/ { pid = $2 + 0; if (!pid) ends++; next }
    token != "" && $0 == "FACTORY_RUN=" token { in_it[pid] = 1 }
    function close_over(set,   p, n, more) {
      for (more = 1; more && n < 1000; n++) {
        more = 0
        for (p in parent) if (!(p in set) && (parent[p] in set)) { set[p] = 1; more = 1 }
      }
    }
    END {
      if (ends < 2) exit 1
      ours = sid > 1 && (!(sid in at) || at[sid] == start) && !(notty && terminal)
      for (p in session) if (ours && session[p] == sid && (p != sid || token == "")) in_it[p] = 1
      n = split(pids, w, " ")
      for (i = 1; i <= n; i++) in_it[w[i]] = 1
      n = split(known, w, " ")
      for (i = 1; i <= n; i++) { split(w[i], k, ":"); if (at[k[1]] == k[2]) in_it[k[1]] = 1 }
      wrapper = token != "" && (sid in at) && at[sid] == start ? sid : 0
      own[self] = 1; close_over(own)
      close_over(in_it)
      for (p in in_it) if ((p in at) && !(p in own) && p != wrapper && p > 1) printf "%s:%s ", p, at[p]
      printf "end"
    }') || return
  case $found in *end) found=${found%end} ;; *) return 1 ;; esac
}

# signal NAME PID:START...: to each that is still the same
signal() {
  name=$1
  shift
  for one do
    l=
    { IFS= read -r l <"/proc/${one%:*}/stat"; } 2>/dev/null
    stat_of "$l" && [ "$start" = "${one#*:}" ] && kill "-$name" "${one%:*}" 2>/dev/null
  done
}

# end NAME PID:START...: a stopped process takes no TERM before it goes on
end() {
  signal "$@"
  [ "$1" = KILL ] || { shift && signal CONT "$@"; }
}

# tree_of RUN: the members of a run's tree, to `found`; `wrapper` is PID:START of its wrapper, if it was of this boot
tree_of() {
  started='' wrapper='' group=''
  { IFS= read -r started <"$1/started"; } 2>/dev/null
  case $started in cancelled* | '') started='0 0 - -' ;; esac
  l=${started#* }
  led_by=${started%% *} led_at=${l%% *}
  l=${l#* }
  case $led_by$led_at in *[!0-9]* | '') led_by=0 ;; esac
  [ "${l%% *}" = "$boot" ] || led_by=0
  [ "$led_by" = 0 ] || wrapper=$led_by:$led_at
  pids=
  [ -f "$1/cgroup" ] && { IFS= read -r group <"$1/cgroup"; } 2>/dev/null
  [ "$group" ] && [ -r "$group/cgroup.procs" ] && pids=$(cat "$group/cgroup.procs" 2>/dev/null)
  pids=$(echo $pids)
  members "$led_by" "$led_at" "${1##*/}" "$pids" '' ''
}

# kill_tree RUN: all that `tree_of` found, and what the kernel knows of its group
kill_tree() {
  [ "$group" ] && [ -w "$group/cgroup.kill" ] && { echo 1 >"$group/cgroup.kill"; } 2>/dev/null
  end KILL $found
}
