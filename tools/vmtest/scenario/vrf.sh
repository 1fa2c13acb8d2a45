# SPDX-License-Identifier: Apache-2.0
#
# Two clouds with the same addresses on one underlay address, as docs/examples/vrf has them: each
# in a VRF, which make test's kernel need not have. In namespaces of its own.

# clouds_are_apart MODE runs the end-to-end test, which finds docs/ from its folder.
clouds_are_apart() {
    local folder=$top/cmd/internal/lab/e2e log=$OUT/vrf-$1.log status=0
    mkdir -p "$folder"
    cd "$folder" || return 1
    DMVPN_PROGRAMS="$top/bin" "$top/bin/vmtest/e2e.test" -test.v -test.parallel 1 -test.timeout 1200s \
        -test.run "^TestTwoCloudsInVRFs\$/^$1\$" >"$log" 2>&1 || status=$?
    # A test that does not run proves nothing.
    [ $status = 0 ] && grep -qE '^ *--- PASS' "$log" || { cat "$log"; return 1; }
}

# An emulated machine stalls, and then everything comes at once.
sysctl -qw net.core.netdev_max_backlog=20000
check "two clouds are apart in VRFs, encrypted" clouds_are_apart encrypted
check "two clouds are apart in VRFs, in clear" clouds_are_apart plain
