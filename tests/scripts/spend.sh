# Spends call by call, up to as many as CALLS, and then waits.
python3 - <<'PYTHON'
import http.client, json
body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": [{"role": "user", "content": "x"}]})
for number in range(CALLS):
    link = http.client.HTTPConnection("127.0.0.1", 8418, timeout=120)
    link.request("POST", "/v1/messages", body, {"content-type": "application/json"})
    print("call", number, link.getresponse().status, flush=True)
print("all calls are made", flush=True)
PYTHON
sleep 600
