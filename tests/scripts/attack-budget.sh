# Spends from many hands at once.
python3 - <<'PYTHON'
import http.client, json, threading
body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]})
answers = []
def spend():
    for _ in range(5):
        link = http.client.HTTPConnection("127.0.0.1", 8418, timeout=60)
        try:
            link.request("POST", "/v1/messages", body, {"content-type": "application/json"})
            answers.append(link.getresponse().status)
        except OSError:
            answers.append(0)
threads = [threading.Thread(target=spend) for _ in range(64)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("answered", answers.count(200), "of", len(answers), flush=True)
PYTHON
sleep 60
