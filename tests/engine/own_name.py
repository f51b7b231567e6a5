"""Whether this machine knows its own name, without which torchrun's processes do not find each other."""

import socket

import pytest


def resolves(name):
    """Whether a name leads to an address."""
    try:
        return bool(socket.gethostbyname(name))
    except OSError:
        return False


needs_own_name = pytest.mark.skipif(
    not (resolves("localhost") and resolves(socket.gethostname())),
    reason="torchrun needs a machine whose own name and localhost lead to an address (/etc/hosts)",
)
