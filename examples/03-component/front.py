"""Sends each request to the next replica."""

import itertools
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPLICAS = itertools.cycle(os.environ["REPLICAS"].split())
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Front(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with DIRECT.open(next(REPLICAS), timeout=10) as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Front).serve_forever()
