# Changes files in every way, commits something that nobody pushes, and leaves the rest uncommitted.
set -e
work=$(git branch --show-current)
git checkout -q -b side
echo "a commit on another branch" > side.txt
git add side.txt
git commit -q -m "Work on the side"
git checkout -q "$work"

# New, changed, deleted, staged, executable, linked, binary.
python3 - <<'PYTHON'
import os
open("bytes.bin", "wb").write(bytes(range(256)) * 40)
open("calculator.py", "a").write("# half way\n")
open("run.sh", "wb").write(b"#!/bin/sh\necho run\r\n")
os.chmod("run.sh", 0o755)
os.mkdir("a folder")
os.symlink("../calculator.py", "a folder/link")
os.symlink("/etc/passwd", "away")
os.remove("README.md")
open("staged", "w").close()
# Git would change what attributes name; here they must stay as they are on disk.
open(".gitattributes", "w").write("* text=auto eol=lf\n*.txt filter=shout ident\n")
open("crlf.txt", "wb").write(b"one\r\ntwo\r\n$Id$\r\n")
open("ignored-by-nobody.log", "w").write("x\n")
open(".git/info/exclude", "a").write("*.log\n")
# Names with odd bytes.
os.mkdir("names")
for number, name in enumerate([b"new\nline", b"tab\there", b'quo"te', b"back\\slash", b"-dash", b" space ",
                               "\u00fcn\u00efcode".encode(), b"not\xffutf8", b":(glob)*", b"\x01control"]):
    open(b"names/" + name, "w").write(f"{number}\n")
os.mkdir("__pycache__")
open("__pycache__/ignored.pyc", "w").write("ignored by the base\n")
PYTHON
git config filter.shout.clean 'tr a-z A-Z'
git add staged

# A repository in the repository, with a commit and more; and one without.
git init -q nested
git -C nested -c user.name=x -c user.email=x@x.invalid commit -q --allow-empty -m "Empty"
echo committed > nested/committed
git -C nested add committed
git -C nested -c user.name=x -c user.email=x@x.invalid commit -q -m "Something"
echo more > nested/more
git init -q nested-new
echo first > nested-new/first
echo "half way there"
