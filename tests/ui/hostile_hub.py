"""A hub-shaped HTTP server on the loopback interface that can drop, truncate, lie and redirect, for tests of `morph pull`.

Behaviours are given per file path: "ok", "drop" (the first answers end half-way, later ones resume), "truncate" (always
ends half-way but says it is whole), "lie" (right size, other bytes), "long" (more bytes than listed), "no-range" (ignores
Range), "error" (503 twice, then well), "missing" (404).
"""
import hashlib
import http.server
import json
import threading
import urllib.parse


class Hub:
    def __init__(self, files, behaviour=None, listing=None):
        self.files = files
        self.behaviour = behaviour or {}
        self.listing = listing
        self.requests = []
        self.counts = {}
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                hub.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def siblings(self):
        entries = []
        for path, data in self.files.items():
            entry = {"rfilename": path, "size": len(data)}
            if len(data) > 1000:
                entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            else:
                entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entries.append(entry)
        return entries

    def answer(self, request):
        self.requests.append((request.path, request.headers.get("Range"), request.headers.get("Authorization")))
        if request.path.startswith("/api/models/org/name/revision/main"):
            body = self.listing
            if body is None:
                body = json.dumps({"sha": "c0ffee", "siblings": self.siblings()}).encode()
            self.send(request, 200, body)
            return
        prefix = "/org/name/resolve/c0ffee/"
        path = urllib.parse.unquote(request.path[len(prefix):]) if request.path.startswith(prefix) else None
        if path not in self.files:
            self.send(request, 404, b"no")
            return
        self.send_file(request, path)

    def send(self, request, status, body, extra=()):
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in extra:
            request.send_header(name, value)
        request.end_headers()
        try:
            request.wfile.write(body)
        except ConnectionError:  # who asked has seen enough
            request.close_connection = True

    def send_file(self, request, path):
        data = self.files[path]
        how = self.behaviour.get(path, "ok")
        self.counts[path] = self.counts.get(path, 0) + 1
        if how == "missing":
            return self.send(request, 404, b"no")
        if how == "error" and self.counts[path] <= 2:
            return self.send(request, 503, b"busy")
        start = 0
        if request.headers.get("Range") and how != "no-range":
            start = int(request.headers["Range"].split("=")[1].split("-")[0])
        if how == "lie":
            data = bytes(b ^ 1 for b in data)
        if how == "long":
            data = data + b"x" * 4096
        body = data[start:]
        if how in ("drop", "no-range") and self.counts[path] <= 2:
            request.send_response(206 if start else 200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            request.close_connection = True
            return None
        if how == "truncate":
            body = body[: len(body) // 2]
        extra = [("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")] if start else []
        return self.send(request, 206 if start else 200, body, extra)
