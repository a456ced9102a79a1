"""Free ports on the loopback."""

import random
import socket

# Below the kernel's ports for outgoing connections, above the lab's ports for RTP.
PORTS = range(30_000, 32_768)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that is free now, and that the kernel does not give to other programs."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")
