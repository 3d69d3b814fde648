# Hangs up in the middle of answers, so that nobody counts them.
python3 - <<'PYTHON'
import json, socket, time
body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 6000, "stream": True, "tools": [{"name": "Bash", "input_schema": {}}],
                   "messages": [{"role": "user", "content": "[[script:slow-stream]]"}]}).encode()
head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
for number in range(10):
    link = socket.create_connection(("127.0.0.1", 8418), timeout=20)
    link.sendall(head + body)
    if number % 2:
        link.recv(200)
    link.close()
time.sleep(10)
PYTHON
echo "all is tried"
sleep 30
