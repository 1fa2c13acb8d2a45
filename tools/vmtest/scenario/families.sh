# SPDX-License-Identifier: Apache-2.0
#
# The story of make test in all four combinations of what is inside and what is the underlay,
# in clear and encrypted, in namespaces of its own.
families_hold() {
    local said
    said=$(DMVPN_PROGRAMS="$top/bin" "$top/bin/vmtest/e2e.test" -test.v -test.parallel 3 -test.timeout 1200s \
        -test.run '^(TestTheStoryInEveryFamily|TestANarrowPathInEveryFamily)$/^IPv._in_' 2>&1) || { echo "$said"; return 1; }
    # A test that does not run proves nothing.
    ! grep -E '^ *--- SKIP' <<<"$said" && grep -c '^ *--- PASS' <<<"$said"
}
check "the story and a narrow path, IPv4 and IPv6 inside and outside" families_hold
