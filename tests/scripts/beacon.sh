# Tells the testbed again and again that this pod is at work, under a name that no other pod has. It ignores SIGTERM, so
# that only its end is an end.
trap '' TERM
exec python3 - <<'PYTHON'
import http.client, json, secrets, time
name = secrets.token_hex(8)
print("beacon", name, flush=True)
while True:
    body = json.dumps({"model": "beacon", "messages": [{"role": "user", "content": name}]})
    try:
        link = http.client.HTTPConnection("testbed", 8080, timeout=5)
        link.request("POST", "/v1/messages", body, {"content-type": "application/json"})
        link.getresponse().read()
    except OSError:
        pass
    time.sleep(0.1)
PYTHON
