"""Processor time is read from outside, and told apart by whose it is: the server's, its gpg workers', its agent's."""

import psutil

CLASSES = ("server", "gpg", "agent")


def processor_seconds(server: int, home: str) -> dict[str, float]:
    """Seconds of user and system time of a serving bank's processes that run now, by class; ended children count too.

    The agent is found by the GnuPG home in its command line: it is nobody's child.
    """
    found = dict.fromkeys(CLASSES, 0.0)
    root = psutil.Process(server)
    for process in (root, *root.children(recursive=True)):
        try:
            times, is_gpg = process.cpu_times(), process.name().startswith("gpg")
            found["gpg" if is_gpg else "server"] += times.user + times.system
            if not is_gpg:
                found["gpg"] += times.children_user + times.children_system  # of those that ended: gpg, all of them
        except psutil.Error:
            continue
    agent = agent_of(home)
    if agent is not None:
        times = agent.cpu_times()
        found["agent"] = times.user + times.system
    return found


def agent_of(home: str) -> psutil.Process | None:
    """The gpg-agent of a GnuPG home."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "gpg-agent" and home in (process.info["cmdline"] or []):
            return process
    return None


def idle_seconds() -> float:
    """Seconds in which a processor of this machine had nothing to do, since its start."""
    times = psutil.cpu_times()
    return times.idle + times.iowait
