# SPDX-License-Identifier: Apache-2.0
#
# check.sh - sourced: checks that are counted, and what they are made of.
checks=0 failures=0

section() { printf '\n== %s\n' "$*"; }

# check WHAT COMMAND... runs COMMAND once; its output is shown where it fails.
check() {
    local what=$1 said
    shift
    checks=$((checks + 1))
    if said=$("$@" 2>&1); then
        say "ok: $what"
    else
        failures=$((failures + 1))
        say "FAILED: $what ($*)"
        sed 's/^/    /' <<<"$said"
        return 1
    fi
}

# within SECONDS WHAT COMMAND... repeats COMMAND until it succeeds.
within() {
    local end=$((SECONDS + $1)) what=$2 said
    shift 2
    checks=$((checks + 1))
    until said=$("$@" 2>&1); do
        if [ $SECONDS -ge $end ]; then
            failures=$((failures + 1))
            say "FAILED, waiting for: $what ($*)"
            sed 's/^/    /' <<<"$said"
            return 1
        fi
        sleep 0.5
    done
    say "ok: $what"
}

not() { ! "$@"; }

# shows PATTERN COMMAND... : the output of COMMAND has a line like PATTERN.
shows() {
    local pattern=$1 said
    shift
    said=$("$@" 2>&1)
    grep -qE -e "$pattern" <<<"$said" || { echo "no line like '$pattern' in:"; echo "$said"; return 1; }
}

# lacks PATTERN COMMAND... : COMMAND succeeds, and no line of its output is like it.
lacks() {
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) || { echo "$said"; return 1; }
    ! grep -E -e "$pattern" <<<"$said"
}

# reaches NODE ADDRESS: a ping is answered.
reaches() { in_node "$1" ping -n -c 1 -W 3 "$2"; }

# all_arrive NODE ADDRESS COUNT [OPTION...]: so many pings, ten a second, none lost.
all_arrive() {
    local n=$1 to=$2 count=$3
    shift 3
    shows " $count received, 0% packet loss" in_node "$n" ping -n -c "$count" -i 0.1 -W 5 "$@" "$to"
}

# tcp_both NODE OTHER ADDRESS: 4 MB of TCP from NODE to the ADDRESS of OTHER, and
# as much back.
tcp_both() {
    local n=$1 other=$2 to=$3 back server said status=0
    for back in "" -R; do
        on_node "$other" iperf3 -s -1 >/dev/null 2>&1 &
        server=$!
        sleep 1
        said=$(in_node "$n" timeout 60 iperf3 -c "$to" -n 4M $back 2>&1) || { echo "$said"; status=1; kill $server 2>/dev/null; }
        wait $server
    done
    return $status
}

# hops NODE ADDRESS COUNT: so many hops, the destination being the last.
hops() {
    local said
    said=$(in_node "$1" traceroute -n -q 1 -w 3 -m 8 "$2" 2>&1) || { echo "$said"; return 1; }
    [ "$(tail -n 1 <<<"$said" | awk '{ print $1, $2 }')" = "$3 $2" ] || { echo "$said"; return 1; }
}

# crossing N: how many GRE data packets the hub's wire carries while N pings go
# from lan1 to lan2 and back, none of them lost. NHRP (protocol 0x2001) does not
# count.
crossing() {
    local log=$L/crossing.log pid status=0
    on_node inet tcpdump -n -i hub -l 'ip proto 47 and ip[22:2] = 0x0800' >"$log" 2>"$log.err" &
    pid=$!
    until grep -q listening "$log.err"; do
        kill -0 $pid 2>/dev/null || { cat "$log.err" >&2; return 1; }
        sleep 0.2
    done
    all_arrive lan1 10.10.2.100 "$1" >&2 || status=1
    sleep 1
    kill $pid
    wait $pid 2>/dev/null
    grep -c GRE "$log" # tcpdump ends with an empty line
    return $status
}

# direct: the hub sees nothing of what goes from lan1 to lan2 or back.
direct() {
    local seen
    seen=$(crossing 5) && [ "$seen" = 0 ] || { cat "$L/crossing.log"; return 1; }
}
