"""The matches: a module for each subject, a class for each match. Importing the package makes all of them known."""

from netlab.iptables.matches import addrtype, conntrack, icmp, mark, multiport, sets, transport

__all__ = ["addrtype", "conntrack", "icmp", "mark", "multiport", "sets", "transport"]
