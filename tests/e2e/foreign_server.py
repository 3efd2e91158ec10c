"""The process in which llama.cpp serves: `foreign_server.py MODEL CONTEXT_TOKENS`, its key in API_KEY. Prints where it listens."""

import os
import signal
import socket
import sys

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx = int(sys.argv[2])
parameters.n_parallel = 1
# Its threads wait for each other without sleeping: on a busy machine one is faster than several.
parameters.cpuparams.n_threads = 1
parameters.cpuparams_batch.n_threads = 1
parameters.api_keys = [os.environ["API_KEY"]]
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    parameters.port = probe.getsockname()[1]
server = xllamacpp.Server(parameters)
print(str(server.listening_address).removeprefix("http://"), flush=True)
signal.pause()
