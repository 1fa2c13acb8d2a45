#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# fields.sh CAPTURES > fields.tsv - every field of every NHRP packet as tshark
# decodes it (4.0.17 made the one here). CAPTURES has nhrp/*.pcap, and
# dmvpn/*.pcap with their keys beside them.
set -euo pipefail
cd "$1"
fields="frame.number ip.src ip.dst nhrp.hdr.afn nhrp.hdr.pro.type nhrp.hdr.hopcnt nhrp.hdr.pktsz
nhrp.hdr.chksum nhrp.hdr.extoff nhrp.hdr.version nhrp.hdr.op.type nhrp.hdr.shtl nhrp.hdr.sstl
nhrp.flags nhrp.reqid nhrp.err.code nhrp.err.offset nhrp.src.nbma.addr nhrp.src.prot.addr
nhrp.dst.prot.addr nhrp.code nhrp.prefix nhrp.unused nhrp.mtu nhrp.htime nhrp.pref
nhrp.client.nbma.addr nhrp.client.prot.addr nhrp.ext.type nhrp.ext.c nhrp.ext.len
nhrp.auth_ext.spi"
config=$(mktemp -d)
trap 'rm -rf "$config"' EXIT
mkdir "$config/wireshark"
# shellcheck disable=SC2086
echo file $fields | tr ' ' '\t'
for f in nhrp/*.pcap dmvpn/*.pcap; do
    rm -f "$config/wireshark/"*
    [ ! -e "${f%.pcap}.esp_sa" ] || cp "${f%.pcap}.esp_sa" "$config/wireshark/esp_sa"
    # shellcheck disable=SC2046
    XDG_CONFIG_HOME=$config tshark -o esp.enable_encryption_decode:TRUE -r "$f" -Y nhrp \
        -T fields $(printf -- '-e %s ' $fields) 2>/dev/null | sed "s|^|${f%.pcap}\t|"
done
