"""Serve a model by llama.cpp's own server until standard input ends: `serve_model.py FILE`; prints its URL."""

import sys

import xllamacpp


def main(file: str) -> None:
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.port = 0
    settings.n_ctx = 16384
    settings.n_parallel = 8
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.n_predict = 600  # where a client says nothing
    settings.chat_template = "chatml"
    settings.use_jinja = settings.warmup = False
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
