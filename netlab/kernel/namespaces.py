"""Network namespaces without names: held by file descriptors of this process only, so that they vanish with it.

Nothing is mounted under /run/netns, so nothing can stay behind, whatever ends the process.
Sources: unshare(2), setns(2), user_namespaces(7), prctl(2).
"""

import ctypes
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from netlab.names import NetlabError

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class KernelUnavailable(NetlabError):
    """The real kernel cannot be asked here; the message says what is missing and what still works."""


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def require(program: str, package: str) -> str:
    """The full path of a program.

    Raises:
        KernelUnavailable: it is not installed; the message names the Debian package.
    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not found:
        raise KernelUnavailable(f"{program} is not installed (apt install {package}). The simulator works without it")
    return found


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the process `parent` (its id) ends, however that ends."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def become_root_of_own_users() -> None:
    """Enters a new user namespace in which this process is root; the machine outside grants it nothing more.

    Raises:
        KernelUnavailable: this machine does not allow user namespaces.
    """
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    except OSError as error:
        raise KernelUnavailable(
            f"not root, and no user namespace can be made ({error.strerror}; see the sysctls user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns): run it as root. "
            "The simulator needs no privilege and works"
        ) from None


class Namespace:
    """One network namespace: an empty network stack of its own, entered with `with namespace.entered():`."""

    def __init__(self) -> None:
        """Makes the namespace and stays in the one the process was in.

        Raises:
            KernelUnavailable: the process may not make network namespaces.
        """
        before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", CLONE_NEWNET)
            self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _call("setns", before, CLONE_NEWNET)
        except OSError as error:
            raise KernelUnavailable(
                f"no network namespace can be made: {error.strerror}. The simulator works"
            ) from None
        finally:
            os.close(before)

    @property
    def path(self) -> str:
        """Where other programs find it while this process lives: /proc/PID/fd/N."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The process acts in this namespace inside the `with`; sockets made there stay in it."""
        before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self.fd, CLONE_NEWNET)
            yield
        finally:
            _call("setns", before, CLONE_NEWNET)
            os.close(before)

    def close(self) -> None:
        """Lets go of it: the kernel removes it with all its devices once its last socket is closed."""
        os.close(self.fd)
