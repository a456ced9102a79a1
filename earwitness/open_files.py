"""Allow this process as many open files as the system lets it have."""

import resource

MOST = 65_536


def allow_open_files() -> None:
    """Raise the limit of open files: each socket of a client is one, also one that sends nothing.

    The usual limit is 1,024, so 1,000 silent strangers would keep everybody else out.
    """
    allowed, possible = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if possible == resource.RLIM_INFINITY else min(MOST, possible)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, possible))
