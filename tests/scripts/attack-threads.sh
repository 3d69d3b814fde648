# Holds all the threads that the pod may have, so that nobody in it can start anything.
echo "the last words" > work.txt
exec python3 - <<'PYTHON'
import signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.stack_size(64 << 10)
count, told = 0, False
while True:
    try:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        count += 1
    except RuntimeError:
        if not told:
            print("no more than", count, "threads", flush=True)
            told = True
        time.sleep(0.05)
PYTHON
