# account: what lives of the runs in `todo` and of what `matches` looks for, by one look at every process: one head and one
# awk for all of them. The second null device proves them all seen, and no command line can pass for one of head's
# headings, since none knows `x`. A process belongs to the run whose session it is in or whose token it was given, else
# to whom its parent belongs; what matches belongs to nobody, has no terminal (a person sits at one) and is not below a
# match of the same agent, which is the same run. To it belongs what is below it, and what else is in its session: all
# that a stop would end. The first line is what `leftovers` would have found.
account() {
  cd /proc && [ -r 1/stat ] || return
  {
    printf '%s\n' "$todo$matches"
    set +f
    exec head -c 2097152 "$x"../dev/null "$x"self/stat "$x"[0-9]*/stat "$x"[0-9]*/cmdline "$x"[0-9]*/environ "$x"../dev/null
  } | tr '\000' '\001' | awk -v self=$$ -v x="$x" '
    function file_ends(   f, i) {
      if (kind == "stat") {
        if (!sub(/^.*\) /, "", text) || split(text, f, " ") < 22) return
        if (pid == "self") { now = f[20]; return }
        state[pid] = f[1]; parent[pid] = f[2]; session[pid] = f[4]; tty[pid] = f[5]
        ticks[pid] = f[12] + f[13] + f[14] + f[15]; start[pid] = f[20]
      } else if (kind == "cmdline") {
        gsub("\001", " ", text)
        if (index(text, "# The factory probe. Its question")) return
        if (text ~ /payload_time=[0-9]+ op_time=[0-9]+ lock_wait=/) return
        # Of two agents whose texts it holds it is a run of the one that is told more exactly.
        for (i = 1; i <= texts; i++)
          if (index(text, needle[i]) && (!(pid in agent) || length(needle[i]) > length(needle[best[pid]]))) {
            agent[pid] = whose[i]; best[pid] = i; command[pid] = substr(text, 1, 800)
          }
      }
    }
    # status: resident kilobytes and user of a process, to kilobytes and user; whether it is still there
    function status(pid,   file, line, f, there) {
      file = pid "/status"; kilobytes = 0; user = ""
      while ((getline line < file) > 0) {
        split(line, f, "[ \t]+")
        if (f[1] == "Uid:") { user = f[2]; there = 1 }
        if (f[1] == "VmRSS:") kilobytes = f[2]
      }
      close(file)
      return there
    }
    function add(to, pid) {
      if (!status(pid)) return
      if (state[pid] !~ /[ZXx]/) procs[to]++
      rss[to] += kilobytes; used[to] += ticks[pid]
    }
    # run_of, root_of: whose the nearest is from PID on upwards
    function run_of(pid,   n) {
      for (; (pid in parent) && n < 1000; n++) { if (pid in own) return own[pid]; pid = parent[pid] }
      return ""
    }
    function root_of(pid,   n) {
      for (; (pid in parent) && n < 1000; n++) { if (pid in root) return pid; pid = parent[pid] }
      return ""
    }
    # beside PID: of the matches in its session the youngest that is older, else the oldest; of very many any
    function beside(pid,   i, r, best) {
      if (roots > 256) return seated[session[pid]]
      for (i = 1; session[pid] && i <= roots; i++) {
        r = order[i]
        if (session[r] != session[pid]) continue
        if (best == "" || (start[best] > start[pid] ? start[r] < start[best] : start[r] > start[best] && start[r] <= start[pid])) best = r
      }
      return best
    }
    !table && $0 == "" { table = 1; heading = "==> " x; h = length(heading); next }
    # A number is not given anew while a process has it as its session: the youngest of two leaders is the one.
    !table && $1 == "run" { token[$2] = 1; if (!($3 in led) || $4 > led[$3]) { leader[$3] = $2; led[$3] = $4 }; next }
    !table && $1 == "in" { own[$2] = $3; next }
    !table {
      s = substr($0, 7); i = index(s, " ")
      whose[++texts] = substr(s, 1, i - 1); needle[texts] = substr(s, i + 1); count[whose[texts]] = 0
      next
    }
    substr($0, 1, h) == heading && / <==$/ {
      file_ends()
      name = substr($0, h + 1, length($0) - h - 4)
      i = index(name, "/"); pid = substr(name, 1, i - 1); kind = substr(name, i + 1)
      if (kind == "dev/null") ends++
      text = ""; lines = 0
      next
    }
    kind == "environ" {
      s = lines++ ? $0 : "\001" $0
      if (!(pid in given) && (i = index(s, "\001FACTORY_RUN="))) {
        s = substr(s, i + 13)
        given[pid] = (i = index(s, "\001")) ? substr(s, 1, i - 1) : s
      }
      next
    }
    length(text) < 4096 { text = lines++ ? text " " $0 : $0 }
    END {
      if (ends < 2 || now !~ /^[0-9]+$/) exit
      for (p in parent) {
        s = session[p]
        if (state[p] !~ /[ZXx]/ && s != 0) { all[s] = 1; if (p == s) lead[s] = start[s]; else more[s] = 1 }
        if (p in own) continue
        # A leader of another start has the number of one that is long gone.
        if (s > 0 && (s in leader) && (!(s in parent) || start[s] == led[s])) own[p] = leader[s]
        else if (p in given) own[p] = given[p]
      }
      # Of sessions that no run had when `todo` was made those that a run may have by now are enough.
      printf "pass %s ", now
      for (s in all)
        if ((s in led) || !(s in lead) || lead[s] > now - 1000) printf "%s/%s/%d ", s, (s in lead) ? lead[s] : "-", (s in more)
      printf "; "
      for (p in given) if (given[p] ~ /^[A-Za-z0-9._-]+$/) printf "%s ", given[p]
      print "end"
      own[self] = "-"
      for (p in parent) {
        t = run_of(p)
        if (t == "") free[p] = 1
        else if (t in token) add("run " t, p)
      }
      for (t in token) printf "tree %s %d %.0f %.0f\n", t, procs["run " t], rss["run " t], used["run " t]
      for (p in agent) {
        if (!(p in free) || tty[p] != 0) continue
        q = parent[p]
        for (n = 0; (q in parent) && n < 1000 && !((q in agent) && agent[q] == agent[p]); n++) q = parent[q]
        if (!(q in parent)) order[++roots] = p
      }
      for (i = 1; i <= roots; i++) { root[order[i]] = 1; seated[session[order[i]]] = order[i] }
      for (p in free) {
        r = root_of(p)
        if (r == "" && (session[p] in seated)) r = beside(p)
        if (r != "") add(r, p)
      }
      for (i = 1; i <= roots; i++) {
        p = order[i]
        if (!status(p)) continue
        count[agent[p]]++
        # A host with thousands of them is told by their number.
        if (i <= 256) printf "matched %s %s %s %s %s %d %.0f %.0f %s\n", agent[p], p, start[p], session[p], user, procs[p], rss[p], used[p], command[p]
      }
      for (a in count) printf "running %s %d\n", a, count[a]
      # This one reads as whom the host was asked.
      if (status("self") && user ~ /^[0-9]+$/) printf "uid %s\n", user
    }'
}
