"""A real S3 server, and a way to it that breaks: for tests/object_store.sh.

    object_store.py serve BUCKET         prints its port, then serves until it is ended
    object_store.py way PORT PUTS        prints its own port, passes everything on to PORT, and
                                         is gone for good in the middle of the PUTS-th upload
"""

import os
import socket
import sys
import threading


def say(port):
    print(port, flush=True)


def serve(bucket):
    from moto.server import ThreadedMotoServer
    import urllib.request

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    make = urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT")
    urllib.request.urlopen(make).close()
    say(port)
    threading.Event().wait()


def way(port, puts):
    left = threading.Semaphore(puts)

    def pass_on(source, sink, is_request):
        while True:
            try:
                block = source.recv(1 << 16)
            except OSError:
                block = b""
            if not block:
                break
            if is_request and block.startswith(b"PUT "):
                left.acquire(blocking=False)
                if left._value == 0:
                    sink.sendall(block[: len(block) // 2])
                    os._exit(0)
            try:
                sink.sendall(block)
            except OSError:
                break
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    listener = socket.create_server(("127.0.0.1", 0))
    say(listener.getsockname()[1])
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for ends in ((near, far, True), (far, near, False)):
            threading.Thread(target=pass_on, args=ends, daemon=True).start()


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    way(int(sys.argv[2]), int(sys.argv[3]))
