"""Takes notes: POST adds a line, GET shows them all. They are kept in the volume, not in the pod."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# On a cloud this would simply be /shelf; `local` says where its volumes really are.
NOTES = Path(json.loads(os.environ["ATLAS_VOLUMES"])["/shelf"]) / "notes.txt"


class Notes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(NOTES.read_text(encoding="utf-8") if NOTES.exists() else "")

    def do_POST(self) -> None:
        line = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with NOTES.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.answer("noted\n")

    def answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Notes).serve_forever()
