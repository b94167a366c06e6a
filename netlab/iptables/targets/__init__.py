"""The targets: a module for each subject, a class for each target. Importing the package makes all of them known."""

from netlab.iptables.targets import header, log, marks, nat, queue, reject, sets, standard, tcpmss, tracking

__all__ = ["header", "log", "marks", "nat", "queue", "reject", "sets", "standard", "tcpmss", "tracking"]
