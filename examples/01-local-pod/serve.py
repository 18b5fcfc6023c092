"""A page of one line. Standard library only: any program that listens on $PORT is a pod."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{os.environ['GREETING']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


port = int(os.environ["PORT"])
print(f"listening on port {port}", flush=True)
ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()
