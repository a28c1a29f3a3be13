"""Ways from this process to a pod's port, as `kubectl port-forward` makes them."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cluster import binary
from e2e.terminal import Terminal

_READY = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@contextmanager
def forwarded(terminal: Terminal, namespace: str, pod: str, port: int) -> Iterator[str]:
    """Forward a free port of the loopback to a pod's; return its base URL. Ends with the block, or with the pod."""
    command = [str(binary("kubectl")), "port-forward", "-n", namespace, f"pod/{pod}", f":{port}"]
    environment = {**os.environ, "KUBECONFIG": str(terminal.kubeconfig)}
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=1
    )
    drain: threading.Thread | None = None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        match = _READY.search(line)
        assert match is not None, f"no way to {namespace}/{pod}: {line}"
        # It says a line about each connection, and stands still once nobody reads them.
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        yield f"http://127.0.0.1:{match[1]}"
    finally:
        process.terminate()
        process.wait()
        if drain is not None:
            drain.join()
        process.stdout.close()
