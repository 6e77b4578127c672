#!/bin/sh
# Leads the network of this machine to the relay (../relay), which runs behind these rules. They decide nothing: what may be
# reached is kiln's business, on the other side of the relay's socket.
#
# Two ways lead out: OUTPUT is that of buildkitd and of steps with this machine's own network; PREROUTING is that of steps with a
# network of their own, behind the bridge kiln0. Loopback, this machine's own addresses and the bridge are direct.
# The numbers are those of ../relay/main.go and ../relay/gate.go. Run again, it sets the same rules.
set -eu
steps=172.30.0.0/16

modprobe -a nfnetlink_queue xt_NFQUEUE 2>/dev/null || true

# A mark goes with each connection from its first packet to the socket that the relay accepts.
echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept
# Without it a step's packets vanish where they are to be refused.
echo 1 >/proc/sys/net/ipv4/ip_forward
# Each refusal is told, not only the first of a second.
echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
# Nothing leads out over IPv6. Without an address of its own on the bridge, this machine cannot be reached over it either.
for interface in /proc/sys/net/ipv6/conf/default /proc/sys/net/ipv6/conf/e* /proc/sys/net/ipv6/conf/kiln0; do
  if [ -e "$interface/disable_ipv6" ]; then echo 1 >"$interface/disable_ipv6"; fi
done

# The first packet of a connection waits in queue 61 until kiln has connected. Then it has the mark and is led to the relay.
# Refused by kiln, or not seen by the relay where that does not run (bypass), it has no mark and is answered with a reset.
iptables-restore <<RULES
*mangle
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:first-packet -
-A PREROUTING -i kiln0 -p tcp --syn -j first-packet
-A OUTPUT ! -o lo -p tcp --syn -j first-packet
-A first-packet -m addrtype --dst-type LOCAL -j RETURN
-A first-packet -d $steps -j RETURN
-A first-packet -p tcp --dport 53 -j RETURN
-A first-packet -j NFQUEUE --queue-num 61 --queue-bypass
COMMIT
*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:way-out -
-A PREROUTING -i kiln0 -j way-out
-A OUTPUT ! -o lo -j way-out
-A way-out -p udp --dport 53 -j REDIRECT --to-ports 61353
-A way-out -p tcp --dport 53 -j REDIRECT --to-ports 61353
-A way-out -p tcp -m mark --mark 0x40000000/0x40000000 -j REDIRECT --to-ports 61380
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -i kiln0 -m conntrack --ctstate DNAT,ESTABLISHED -j ACCEPT
-A INPUT -i kiln0 -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -i kiln0 -j REJECT
-A FORWARD -i kiln0 -o kiln0 -j ACCEPT
-A FORWARD -p tcp -j REJECT --reject-with tcp-reset
-A FORWARD -j REJECT --reject-with icmp-port-unreachable
-A OUTPUT -d $steps -j ACCEPT
-A OUTPUT ! -o lo -p tcp --syn -m conntrack ! --ctstate DNAT -j REJECT --reject-with tcp-reset
COMMIT
RULES

# What is neither TCP nor DNS has no way out, which whoever sends it is told at once. Of this machine's own programs (iif lo): rejected by
# a rule of iptables it would be "Operation not permitted" instead of "Network is unreachable". The DHCP server is QEMU's own.
for priority in 101 102 103 104 105; do
  while ip rule del priority $priority 2>/dev/null; do :; done
done
ip rule add priority 101 to $steps lookup main
ip rule add priority 102 ipproto tcp lookup main
ip rule add priority 103 ipproto udp dport 53 lookup main
ip rule add priority 104 to 10.0.2.2 ipproto udp dport 67 lookup main
ip rule add priority 105 iif lo unreachable
