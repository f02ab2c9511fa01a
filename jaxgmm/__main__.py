"""``python -m jaxgmm``: the command line, if its extra is installed."""

import os
import signal
import socket
import sys
import threading
from contextlib import suppress

_ON_TERMINALS = b"\r\x1b[K"  # clears the line, on which progress may stand


def main() -> None:
    """Run the command line, or say in one line what it needs."""
    _end_on_interrupt()
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("jaxgmm: the command line needs click: pip install 'jaxgmm[cli]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))


def _end_on_interrupt() -> None:
    """Let Ctrl-C end this process at once, with one line and code 130, whatever it is doing.

    Python would wait for the main thread, which may be compiling for a minute, and then tear down what other threads
    still compile. So a thread of its own waits for the signal, and no destructor runs.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as in the background of a shell
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)

    def wait() -> None:
        receiver.recv(1)
        writing = sys.modules.get("jaxgmm.files.writing")
        for path in list(getattr(writing, "UNFINISHED", ())):
            with suppress(OSError):
                os.unlink(path)
        os.write(2, (_ON_TERMINALS if os.isatty(2) else b"") + b"jaxgmm: interrupted\n")
        os._exit(130)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
