#!/bin/sh
# Makes .venv ready, and does nothing when it is: finds Python and GnuPG, installs the pinned packages, then the project.
#
# With `tests` as its argument it also installs, where it may, PostgreSQL and the programs that the tests ask for a second
# opinion; with `soak` PostgreSQL, Patroni and etcd; with `bench` PostgreSQL alone, which is also the plain database that
# `make bench` measures beside ours.
# Asks for nothing. Where a part of the system is missing it installs it with apt-get if it may (root, or sudo without a
# password); everywhere else it prints the one command to run and ends with 1.
set -eu
cd -- "$(dirname -- "$0")/.."

# What pip and Python must not take from the user's own settings here.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 PIP_NO_INPUT=1
unset PYTHONHOME PYTHONPATH

needed_gnupg=2.2.40
packages_stamp=.venv/made-from-packages
project_stamp=.venv/made-from-project

say() { printf '%s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# --- what the system must have ----------------------------------------------------------------------------------

find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        # Run, not only looked up: the shims of version managers are there for versions that are not.
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return 0; fi
    done
    python=
    return 1
}

has_venv() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }

# Answers in `gnupg_problem`, empty when all is well.
look_at_gnupg() {
    gnupg_problem=
    for program in gpg gpg-agent gpgconf gpg-connect-agent; do
        if ! command -v "$program" >/dev/null 2>&1; then
            gnupg_problem="GnuPG $needed_gnupg or newer is needed, and $program is missing"
            return 1
        fi
    done
    found=$(LC_ALL=C gpg --version 2>/dev/null | sed -n '1s/^.* \([0-9][0-9.]*\).*$/\1/p')
    if ! printf '%s %s\n' "${found:-0}" "$needed_gnupg" | awk '{
        split($1, have, "."); split($2, need, ".")
        for (i = 1; i <= 3; i++) if (have[i] + 0 != need[i] + 0) exit (have[i] + 0 < need[i] + 0)
    }'; then
        gnupg_problem="GnuPG $needed_gnupg or newer is needed, and gpg here is ${found:-of an unknown version}"
        return 1
    fi
}

# The command that installs GnuPG and Python on this kind of system, in `install_command`.
name_install_command() {
    if command -v apt-get >/dev/null 2>&1; then
        # Debian keeps the venv module in a package of its own, one for each Python.
        install_command="apt-get install -y gnupg ${python:-python3} ${python:-python3}-venv"
    elif command -v dnf >/dev/null 2>&1; then
        install_command="dnf install -y gnupg2 python3"
    elif command -v apk >/dev/null 2>&1; then
        install_command="apk add gnupg python3"
    elif command -v pacman >/dev/null 2>&1; then
        install_command="pacman -S --needed gnupg python"
    elif command -v brew >/dev/null 2>&1; then
        install_command="brew install gnupg python"
        return 0
    else
        install_command=
        return 0
    fi
    if [ "$(id -u)" != 0 ]; then install_command="sudo $install_command"; fi
}

install_with_apt() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root="sudo -n"
    fi
    say "Installing $* with apt-get …"
    # shellcheck disable=SC2086 # `as_root` is empty or two words.
    $as_root apt-get update -qq >/dev/null 2>&1 || true  # a stale list may still be good enough
    # shellcheck disable=SC2086
    if ! complaint=$($as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$@" 2>&1 </dev/null); then
        printf '%s\n' "$complaint" >&2
        return 1
    fi
}

ask_for() {
    name_install_command
    if [ -n "$install_command" ]; then
        fail "$1. Please run: $install_command"
    fi
    fail "$1. Please install it with this system's packages, then run make again."
}

require_gnupg() {
    look_at_gnupg && return 0
    if install_with_apt gnupg && look_at_gnupg; then return 0; fi
    look_at_gnupg || ask_for "$gnupg_problem"
}

require_python() {
    find_python || { install_with_apt python3 python3-venv && find_python; } || ask_for "Python 3.11 or newer is needed"
    has_venv && return 0
    if install_with_apt "$python-venv" && has_venv; then return 0; fi
    ask_for "$python is here, but its modules venv and ensurepip are missing"
}

# Programs of others that the tests ask for a second opinion; a test whose program is missing is skipped.
seek_second_opinions() {
    for program in gpgsm openssl sq-wot; do  # each is in Debian's package of its name
        command -v "$program" >/dev/null 2>&1 || install_with_apt "$program" ||
            say "$program is missing and could not be installed: the tests that ask for its opinion are skipped."
    done
}

# What the tests cannot do without. Of systemd only programs that read files are used; nothing is started.
seek_programs() {
    for found in systemd-analyze:systemd curl:curl; do
        command -v "${found%:*}" >/dev/null 2>&1 || install_with_apt "${found#*:}" ||
            say "${found#*:} is missing and could not be installed: tests that need it fail. Install it, then run this again."
    done
}

# Only its programs are used, in clusters of the tests' and the benchmark's own; what the package starts by itself is left
# alone. Which version is new enough, and where else it may lie, is asked by tests/postgres.py.
seek_postgresql() {
    for found in /usr/lib/postgresql/*/bin/pgbench /usr/pgsql-*/bin/pgbench /opt/homebrew/opt/postgresql@*/bin/pgbench; do
        [ -x "$found" ] && return 0
    done
    install_with_apt postgresql || say "PostgreSQL is missing and could not be installed: $1."
}

# Only their programs are used, in clusters of the tests' own; what the packages start by themselves is left alone.
seek_patroni() {
    missing=
    command -v patroni >/dev/null 2>&1 || missing=patroni
    command -v etcd >/dev/null 2>&1 || missing="$missing etcd-server"
    # shellcheck disable=SC2086 # one or two packages
    [ -z "$missing" ] || install_with_apt $missing ||
        say "Missing, and could not be installed: $missing. The tests of three machines fail (docs/high-availability.md)."
}

# --- the virtual environment ------------------------------------------------------------------------------------

# A virtual environment keeps absolute paths, so one that was moved along with the folder is not this one.
packages_fingerprint() { pwd -P && cksum <requirements.txt; }
project_fingerprint() { pwd -P && cksum <pyproject.toml; }

same() { [ -f "$2" ] && [ "$("$1")" = "$(cat "$2")" ]; }

# Fails once the Python that made .venv is gone.
venv_runs() { .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

make_venv() {
    require_python
    say "Making the virtual environment .venv with $("$python" --version) …"
    rm -rf .venv
    "$python" -m venv .venv || fail "The virtual environment .venv could not be made; the lines above say why."
    say "Installing the pinned packages of requirements.txt into .venv (about half a minute) …"
    .venv/bin/python -m pip install -qq --require-hashes --no-deps -r requirements.txt ||
        fail "The packages of requirements.txt could not be installed; the lines above are pip's. Is there a network?"
    packages_fingerprint >"$packages_stamp"
}

install_project() {
    say "Installing countersign into .venv …"
    # setuptools is among the pinned packages, so nothing is fetched; the plain form (a path in a .pth file) is what
    # mypy and other readers of source understand.
    .venv/bin/python -m pip install -qq --no-deps --no-build-isolation --no-index \
        --config-settings editable_mode=compat --editable . ||
        fail "The project could not be installed into .venv; the lines above are pip's."
    project_fingerprint >"$project_stamp"
}

require_gnupg
if ! venv_runs || ! same packages_fingerprint "$packages_stamp"; then make_venv; fi
if ! same project_fingerprint "$project_stamp"; then install_project; fi
case "${1:-}" in
    tests)
        seek_second_opinions
        seek_programs
        seek_postgresql "the tests of ledgers in it fail"
        ;;
    soak)
        seek_postgresql "the tests of ledgers in it fail"
        seek_patroni
        ;;
    bench) seek_postgresql "our transfers are not compared with a plain database's" ;;
esac
