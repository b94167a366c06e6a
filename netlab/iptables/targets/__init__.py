"""The targets: a module for each subject, a class for each target. Importing the package makes all of them known."""

from netlab.iptables.targets import standard

__all__ = ["standard"]
