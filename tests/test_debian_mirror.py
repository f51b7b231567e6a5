"""The mirror that apt uses is found in both forms of its sources, so that backports come from there too."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "debian_mirror.sh"
pytestmark = pytest.mark.skipif(shutil.which("sh") is None or shutil.which("awk") is None, reason="needs a POSIX shell")


@pytest.fixture
def mirror(tmp_path):
    """Return a function that writes apt's sources and asks for the mirror of bookworm."""
    (tmp_path / "sources.list.d").mkdir()

    def ask(**files):
        for name, text in files.items():
            path = tmp_path / "sources.list" if name == "one" else tmp_path / "sources.list.d" / name.replace("_", ".")
            path.write_text(text)
        done = subprocess.run(["sh", SCRIPT, "bookworm", tmp_path], capture_output=True, text=True, check=False)
        return done.stdout.strip(), done.returncode

    return ask


def test_one_line_form(mirror):
    """Options in brackets, security and other releases are passed over."""
    text = """# deb http://comment.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://mirror.example/debian bookworm main contrib
"""
    assert mirror(one=text) == ("https://mirror.example/debian", 0)


def test_deb822_form(mirror):
    """Stanzas for other suites and those that are switched off are passed over; the order of fields does not matter."""
    text = """# apt's sources
Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm

Suites: bookworm bookworm-updates
Types: deb
# near us
URIs: http://mirror.example/debian/
Components: main
"""
    assert mirror(debian_sources=text) == ("http://mirror.example/debian/", 0)


def test_other_vendors_are_no_mirror(mirror):
    """A vendor's archive with a suite of its own is not taken for Debian's mirror; none at all is told by the status."""
    text = "deb https://vendor.example/apt nodistro main\n"
    assert mirror(vendor_list=text) == ("", 1)
    assert (
        mirror(vendor_list=text, debian_sources="Types: deb\nURIs: http://m.example/d\nSuites: bookworm\n")[0]
        == "http://m.example/d"
    )
