# Pushes what may not be pushed, in the ways that git and a program of one's own can. Each line of the report is a name
# and what became of it.
work=$(git branch --show-current)
base=$(git rev-parse HEAD)
export GIT_AUTHOR_EMAIL=x@x.invalid GIT_COMMITTER_EMAIL=x@x.invalid
try() {
  name=$1; shift
  if timeout 60 git -c protocol.version=0 push -q "$@" > "/tmp/said" 2>&1; then echo "$name: taken"; else echo "$name: refused"; fi
}
commit() { git commit-tree -p "$base" -m "$1" "${2:-$base^{tree}}"; }
one=$(commit one)
two=$(git commit-tree -m "no parent" "$base^{tree}")

try main origin "$one:refs/heads/main"
try branch origin "$one:refs/heads/other"
try below-the-branch origin "$one:refs/heads/$work/x"
try other-letters origin "$one:refs/heads/$(tr a-z A-Z <<< "$work")"
try tag origin "$one:refs/tags/v1"
try notes origin "$one:refs/notes/x"
try review origin "$one:refs/for/main"
try head origin "$one:refs/heads/HEAD"
try others-snapshot origin "$one:refs/gastown/wip/somebody/01234567"
try snapshot-as-branch origin "$one:refs/heads/gastown-wip/somebody/01234567"
try two-refs origin "$one:refs/heads/$work" "$one:refs/heads/other"
try delete-main origin :refs/heads/main
try delete-branch origin ":refs/heads/$work"
try option -o ci.skip origin "$one:refs/heads/$work"
try atomic --atomic origin "$one:refs/heads/$work"
try signed --signed=yes origin "$one:refs/heads/$work"
try mirror --mirror origin
try no-history origin "$two:refs/heads/$work"
try tree origin "$base^{tree}:refs/heads/$work"
git replace "$base" "$two"
try replacement origin "refs/replace/$base"
try replaced origin "$two:refs/heads/$work"
git replace -d "$base" > /dev/null

# What a CI system would run, in a tree of its own making, also put back by a later commit.
blob=$(echo 'on: push' | git hash-object -w --stdin)
folder=$(printf '100644 blob %s\tx.yml\n' "$blob" | git mktree)
for path in .github/workflows .GitHub/Workflows; do
  inner=$(printf '040000 tree %s\t%s\n' "$folder" "${path#*/}" | git mktree)
  tree=$( (git ls-tree "$base"; printf '040000 tree %s\t%s\n' "$inner" "${path%/*}") | git mktree)
  bad=$(commit workflow "$tree")
  try "workflow $path" origin "$bad:refs/heads/$work"
  good=$(git commit-tree -p "$bad" -m "Put it back" "$base^{tree}")
  try "hidden workflow $path" origin "$good:refs/heads/$work"
done
tree=$( (git ls-tree "$base"; printf '100644 blob %s\t.gitlab-ci.yml\n' "$blob") | git mktree)
try gitlab-ci origin "$(commit ci "$tree"):refs/heads/$work"

# Trees and modules that a checkout would stumble over.
for name in .git '.GIT' 'git~1' '..' ; do
  tree=$( (git ls-tree "$base"; printf '100644 blob %s\t%s\n' "$blob" "$name") | git mktree 2>/dev/null)
  [ -n "$tree" ] || { echo "name $name: refused"; continue; }
  try "name $name" origin "$(commit name "$tree"):refs/heads/$work"
done
evil=$(printf '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=evil\n' | git hash-object -w --stdin)
tree=$( (git ls-tree "$base"; printf '100644 blob %s\t.gitmodules\n' "$evil") | git mktree)
try modules origin "$(commit modules "$tree"):refs/heads/$work"

python3 - "$work" "$base" <<'PYTHON'
import hashlib, socket, struct, sys, time, zlib
work, base = sys.argv[1:]
zero = "0" * 40

def line(text):
    return f"{len(text) + 4:04x}{text}".encode()

def post(body, headers=b"", path=b"/repo.git/git-receive-pack", timeout=60):
    link = socket.create_connection(("127.0.0.1", 8417), timeout=timeout)
    try:
        link.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                     b"Content-Type: application/x-git-receive-pack-request\r\n" + headers +
                     b"Content-Length: %d\r\n\r\n" % len(body))
        link.sendall(body)
    except OSError:
        pass
    answer = b""
    try:
        while part := link.recv(65536):
            answer += part
    except OSError:
        pass
    link.close()
    return answer

def report(name, answer):
    # The report says `ok` and the ref's name of each ref that moved.
    print(f"{name}: {'taken' if b'ok refs/' in answer else 'refused'}", flush=True)

def kind(number, size):
    first, size = (number << 4) | (size & 15), size >> 4
    out = bytearray()
    while size:
        out.append(first | 128)
        first, size = size & 127, size >> 7
    out.append(first)
    return bytes(out)

def varint(size):
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out)

def pack(objects):
    body = b"PACK" + struct.pack(">II", 2, len(objects)) + b"".join(objects)
    return body + hashlib.sha1(body).digest()

def push(pack_bytes, new="1" * 40, name=None, old=zero):
    command = line(f"{old} {new} {name or 'refs/heads/' + work}\0report-status agent=x")
    return command + b"0000" + pack_bytes

# A gigabyte from a few kilobytes: by a delta that copies one part again and again, and by zeros alone.
part = bytes(1 << 20)
def delta(count):
    # Copies the base's first 0xf0000 bytes as often as asked.
    return varint(len(part)) + varint(0xf0000 * count) + b"\xc0\x0f" * count
small = kind(3, len(part)) + zlib.compress(part, 9)
name = hashlib.sha1(b"blob %d\0" % len(part) + part).digest()
instructions = delta(1100)
bomb = kind(7, len(instructions)) + name + zlib.compress(instructions, 9)
whole = push(pack([small, bomb]))
print(f"the bomb has {len(whole)} bytes", flush=True)
report("delta bomb", post(whole))
zeros = zlib.compressobj(9)
packed = b"".join(zeros.compress(bytes(1 << 24)) for _ in range(64)) + zeros.flush()
report("zero bomb", post(push(pack([kind(3, 1 << 30) + packed]))))
commit = zlib.compressobj(9)
packed = b"".join(commit.compress(b"a" * (1 << 24)) for _ in range(32)) + commit.flush()
report("huge commit", post(push(pack([kind(1, 1 << 29) + packed]))))
report("gzip bomb", post(zlib.compress(bytes(1 << 26), 9, 31), b"Content-Encoding: gzip\r\n"))
report("lying count", post(push(b"PACK" + struct.pack(">II", 2, 0xffffffff) + b"x" * 100)))
report("garbage", post(push(b"PACK" + b"\xff" * 4096)))
report("no pack", post(push(b"", new=base)))

# Refs, many and long, and lists of commands that are not what they say.
report("long ref", post(push(b"", name="refs/heads/" + "x" * 200000)))
many = b"".join(line(f"{zero} {base} refs/heads/x{n}\0report-status") for n in range(20000)) + b"0000"
report("many refs", post(many))
report("long line", post(b"ffff" + b"x" * 65531 + b"0000"))
report("short line", post(b"0001" * 1000 + b"0000"))
report("no end", post(line(f"{zero} {base} refs/heads/{work}\0report-status")))
report("nul in ref", post(push(b"", name=f"refs/heads/{work}\0x")))
report("newline in ref", post(push(b"", name=f"refs/heads/{work}\nrefs/heads/main")))
report("option in capability", post(line(f"{zero} {base} refs/heads/{work}\0report-status push-options") + b"0000" + line("ci.skip") + b"0000"))
report("shallow", post(line(f"shallow {base}") + push(b"")))
for path in (b"/repo.git/../repo.git/git-receive-pack", b"//repo.git/git-receive-pack", b"/broker/repo.git/git-receive-pack",
             b"/repo.git/git-receive-pack?x", b"/repo.git/git-upload-archive", b"/repo.git%2fgit-receive-pack"):
    report(f"path {path.decode()}", post(push(b""), path=path))

# Connections that say nothing, and others that wait their turn; the host serves on.
idle = []
for _ in range(300):
    try:
        link = socket.create_connection(("127.0.0.1", 8417), timeout=2)
        link.sendall(b"POST /repo.git/git-receive-pack HTTP/1.1\r\nX: ")
        idle.append(link)
    except OSError:
        break
time.sleep(17)
for link in idle:
    link.close()
PYTHON
for number in 1 2 3 4 5 6 7 8; do
  git clone -q --bare "$(git remote get-url origin)" "/tmp/clone-$number" > /dev/null 2>&1 &
done
wait
git ls-remote -q origin > /dev/null && echo "the host serves on"
echo "all is tried"
sleep 30
