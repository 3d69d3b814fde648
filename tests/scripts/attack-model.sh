# Asks the model proxy for what it must not do: other places, other keys, other prices, tools with a network of their own.
python3 - <<'PYTHON'
import json, socket, threading

def raw(data, timeout=20):
    try:
        link = socket.create_connection(("127.0.0.1", 8418), timeout=timeout)
        link.sendall(data)
        answer = b""
        while part := link.recv(65536):
            answer += part
        return answer
    except OSError:
        return b""

def request(body, path="/v1/messages", method="POST", headers=(), length=True):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:8418", "Connection: close", "Content-Type: application/json"]
    lines += list(headers)
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

def report(name, answer):
    status = answer.split(b" ", 2)[1:2]
    fine = bool(status) and status[0].startswith(b"2")
    print(f"{name}: {'ANSWERED' if fine else 'refused'}", flush=True)

plain = {"model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": "hello"}]}
def but(**fields):
    return {**plain, **fields}
def content(*blocks):
    return but(messages=[{"role": "user", "content": list(blocks)}])

for path in ("/v1/models", "/v1/files", "/v1/messages/batches", "/v1/messages/", "//v1/messages", "/v1/../v1/messages",
             "/v1/%6dessages", "/v1/messages;x", "/v1/messages?beta=false", "/v1/messages?api_key=x", "/requests", "/", "*",
             "http://testbed:8080/v1/messages", "http://127.0.0.1/v1/messages", "/v1/messages/../../requests", "/v1/messages%00",
             "/V1/messages"):
    report(f"path {path}", raw(request(plain, path)))
for method in ("GET", "PUT", "DELETE", "CONNECT", "TRACE", "OPTIONS", "PATCH", "post"):
    report(f"method {method}", raw(request(plain, method=method)))
report("connect", raw(b"CONNECT testbed:8080 HTTP/1.1\r\nHost: testbed:8080\r\n\r\n"))
body = json.dumps(plain).encode()
for name, data in {
    "length and chunks": request(body, headers=["Transfer-Encoding: chunked"]),
    "chunks": request(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), headers=["Transfer-Encoding: chunked"], length=False),
    "chunks in other words": request(body, headers=["Transfer-Encoding: xchunked"]),
    "two lengths": request(body, headers=["Content-Length: 5"]),
    "signed length": request(body, headers=[f"Content-Length: +{len(body)}"], length=False),
    "list of lengths": request(body, headers=[f"Content-Length: {len(body)}, 5"], length=False),
    "folded header": request(body, headers=["X-A: b\r\n Transfer-Encoding: chunked"]),
    "space before colon": request(body, headers=["Transfer-Encoding : chunked"]),
    "upgrade": request(body, headers=["Upgrade: websocket", "Connection: upgrade"]),
    "gzip": request(body, headers=["Content-Encoding: gzip"]),
    "nul in header": request(body, headers=["X-A: \0"]),
    "long head": request(body, headers=["X-A: " + "a" * 100000]),
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "half a request": b"POST /v1/messages HTTP/1.1\r\nHost",
}.items():
    report(name, raw(data))
for name, value in {
    "api_base": but(api_base="http://testbed:8080"), "api_key": but(api_key="x"), "base_url": but(base_url="http://testbed:8080"),
    "extra_body": but(extra_body={"api_base": "x"}), "extra_headers": but(extra_headers={"x": "y"}),
    "mcp_servers": but(mcp_servers=[{"type": "url", "url": "http://testbed:8080", "name": "x"}]),
    "container": but(container="x"), "service_tier": but(service_tier="priority"), "unknown field": but(something_new=1),
    "web search": but(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "web fetch": but(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}]),
    "code execution": but(tools=[{"type": "code_execution_20250522", "name": "code_execution"}]),
    "mcp toolset": but(tools=[{"type": "mcp_toolset", "mcp_server_name": "x"}]),
    "image by url": content({"type": "image", "source": {"type": "url", "url": "http://testbed:8080/x.png"}}),
    "document by url": content({"type": "document", "source": {"type": "url", "url": "http://testbed:8080/x.pdf"}}),
    "file": content({"type": "document", "source": {"type": "file", "file_id": "x"}}),
    "image in a result": content({"type": "tool_result", "tool_use_id": "x", "content": [{"type": "image", "source": {"type": "url", "url": "http://testbed:8080"}}]}),
    "container upload": content({"type": "container_upload", "file_id": "x"}),
    "model": but(model="gpt-5"), "no model": {k: v for k, v in plain.items() if k != "model"}, "model in a list": but(model=["claude-sonnet-4-5"]),
    "no limit": {k: v for k, v in plain.items() if k != "max_tokens"}, "negative limit": but(max_tokens=-1), "limit in words": but(max_tokens="16"),
    "compaction": but(context_management={"edits": [{"type": "compact_20260112"}]}),
    "not an object": [plain], "stream in words": but(stream="yes"),
}.items():
    report(f"body {name}", raw(request(value)))
report("body twice the model", raw(request(body[:-1] + b',"model":"gpt-5"}')))
report("body twice a field", raw(request(body[:-1] + b',"messages":[],"mcp_servers":[]}')))
report("body deep", raw(request(b'{"model":"claude-sonnet-4-5","max_tokens":1,"messages":' + b"[" * 200000 + b"]" * 200000 + b"}")))
report("body no json", raw(request(b"\xff\xfe")))
report("body huge", raw(request(b'{"x":"' + b"a" * (33 << 20) + b'"}')))
large = request(b'{"model":"x","y":"' + b"a" * (30 << 20) + b'"}')
threads = [threading.Thread(target=raw, args=(large, 60)) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
idle = []
for _ in range(300):
    try:
        idle.append(socket.create_connection(("127.0.0.1", 8418), timeout=2))
    except OSError:
        break
[link.close() for link in idle]

# What may be asked is answered, with the broker's own key whatever the caller brings.
mine = ["x-api-key: mine", "Authorization: Bearer mine", "Cookie: mine=1", "Host: elsewhere", "X-Forwarded-Host: elsewhere",
        "Accept-Encoding: gzip", "anthropic-beta: files-api-2025-04-14,mcp-client-2025-04-04", "X-Stainless-Lang: py"]
answer = raw(request(plain, headers=mine))
print("allowed:", answer.split(b" ", 2)[1].decode() if answer else "nothing", flush=True)
PYTHON
echo "all is tried"
sleep 30
