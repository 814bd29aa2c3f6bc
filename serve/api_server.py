"""vLLM's API server on a socket that the launcher holds, so that the port stays open while vLLM is started again.

vLLM's own entry point does the same but for the socket, which it opens itself, and the bounds on what a client may send
before its request is understood.
tests/serve/test_vllm_internals.py says so when that changes.
"""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType
from typing import NoReturn

from locum.serve.lifeline import LIFELINE, tie

LISTENER = "LOCUM_LISTENER"  # names the descriptor of the socket
STANDBY = "LOCUM_STANDBY"  # names the descriptor by which the launcher's standby is told to leave it


def main() -> None:
    if descriptor := os.environ.pop(LIFELINE, None):
        tie(socket.socket(fileno=int(descriptor)))

    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server_worker
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.launchers.launcher import validate_api_server_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.logger import configure_logging_from_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.utils.system_utils import decorate_logs, set_ulimit

    from locum.serve.http_protocol import BoundedHttp

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt("terminated")

    cli_env_setup()
    args = make_arg_parser(FlexibleArgumentParser()).parse_args()
    configure_logging_from_args(args)
    validate_parsed_serve_args(args)
    validate_api_server_args(args)
    set_ulimit()
    decorate_logs("APIServer", skip_if_decorated=True)
    signal.signal(signal.SIGTERM, interrupt)  # until uvicorn has handlers of its own
    with socket.socket(fileno=int(os.environ.pop(LISTENER))) as listener:
        listener.set_inheritable(False)
        uvloop.run(run_server_worker(f"http://{args.host}:{args.port}", listener, args, http=BoundedHttp, ws="none"))


if __name__ == "__main__":
    main()
