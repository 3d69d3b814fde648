"""An agent that does random things to the clone it is started in, and tells of each on standard output.

    random_tree.py work SEED SCRATCH [PAUSE [EARLIER]]   acts; SCRATCH is a folder outside of the clone, PAUSE seconds pass between
                        two acts, EARLIER is what an agent told that worked on the clone before; RANDOM_TREE_END is the exit code,
                        or `wait` for a signal to end
    random_tree.py look                         tells what a clone holds: `has OBJECT` of each file, `lacks PATH` of each deleted one

`wrote OBJECT TREE PATH` is the newest content of a file in a work tree, `gone TREE PATH` says that the agent deleted or may
have deleted it, `moved TREE TREE` that a work tree has another place, `broke` that it damaged the repository itself, so that
commits may be lost if that is said; `did` tells the story. A path is told as a JSON string of bytes as Latin-1. `end` comes last,
after a line `committed OBJECT` for each newest content that is no longer on disk, and `dropped OBJECT` for those that the agent
itself threw away.
"""
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time

GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@x.invalid", "-c", "protocol.file.allow=always", "-c", "commit.gpgSign=false"]
ODD = [b"-leading", b"new\nline", b"not\xfftext", b"case", b"Case", b"x" * 250, b"\"quoted\\", b":(top)", b" ", b"tab\t", b"*.txt",
       b"con", b".gitignored", b"a.held", "\u00e9".encode(), "e\u0301".encode()]
FOLDERS = [b"", b"src/", b"src/deep/", b"docs/", b"new/", b"odd \x01name/", b".github/workflows/", b".claude/commands/"]


def tell(what, *words):
    shown = [json.dumps(os.fsencode(word).decode("latin-1")) for word in words]
    print(" ".join([what, *shown]), flush=True)


def object_of(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def content_of(path):
    """What git keeps of a file or symbolic link; nothing of anything else."""
    try:
        if os.path.islink(path):
            return os.fsencode(os.readlink(path))
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return file.read()
    except OSError:
        pass
    return None


def files_of(tree, apart=()):
    for folder, folders, names in os.walk(tree):
        folders[:] = [n for n in folders if n != b".git" and os.path.join(folder, n) not in apart]
        links = [n for n in folders if os.path.islink(os.path.join(folder, n))]
        yield from (os.path.relpath(os.path.join(folder, n), tree) for n in names + links if n != b".git")


class Agent:
    def __init__(self, seed, scratch):
        self.random = random.Random(seed)
        self.scratch = os.fsencode(os.path.abspath(scratch))
        self.home = os.getcwdb()
        self.trees = [self.home]
        self.written = {}
        self.broken = False
        self.count = 0
        self.seed = seed

    def git(self, tree, *arguments):
        words = [os.fsencode(word) for word in arguments]
        environment = dict(os.environ, GIT_TERMINAL_PROMPT="0", GIT_EDITOR="true", GIT_CONFIG_NOSYSTEM="1",
                           GIT_CONFIG_GLOBAL=os.path.join(self.scratch, b"gitconfig"))
        try:
            done = subprocess.run([os.fsencode(word) for word in GIT] + words, cwd=tree, env=environment, timeout=20,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            return None
        tell("did", b"git " + b" ".join(words) + (b"" if done.returncode == 0 else b" (refused)"))
        return done.stdout if done.returncode == 0 else None

    # Files.

    def present(self, tree):
        inner = {other for other in self.trees if other != tree}
        found = [p for p in files_of(tree, inner) if not p.startswith((b"ignored/", b".git", b".claude/worktrees/", b"x.o"))]
        # To write into a FIFO waits for a reader.
        return sorted(path for path in found if content_of(os.path.join(tree, path)) is not None)

    def any(self, tree):
        present = self.present(tree)
        return self.random.choice(present) if present else None

    def fresh(self, size=0):
        self.count += 1
        content = b"seed %d content %d of %d\r\n" % (self.seed, self.count, self.random.getrandbits(32))
        return content + b"\0" * max(0, size - len(content))

    def gone(self, tree, path):
        self.written.pop((tree, path), None)
        tell("gone", tree, path)

    def put(self, tree, path, content=None, link=False):
        target = os.path.join(tree, path)
        content = self.fresh() if content is None else content
        self.gone(tree, path)
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.islink(target):
                os.remove(target)
            if link:
                if os.path.exists(target):
                    os.remove(target)
                os.symlink(content, target)
            else:
                with open(target, "wb") as file:
                    file.write(content)
        except OSError as error:
            return tell("did", "fail to write: %s" % error)
        self.written[(tree, path)] = object_of(content)
        print("wrote", object_of(content), json.dumps(tree.decode("latin-1")), json.dumps(path.decode("latin-1")), flush=True)

    def change(self, tree):
        path = self.any(tree)
        if path:
            self.put(tree, path)

    def add(self, tree):
        self.put(tree, self.random.choice(FOLDERS) + b"n%d" % self.random.randrange(4))

    def odd(self, tree):
        self.put(tree, self.random.choice(FOLDERS[:6]) + self.random.choice(ODD))

    def deep(self, tree):
        self.put(tree, b"d/" * self.random.choice([5, 60]) + b"deep")

    def link(self, tree):
        self.put(tree, b"link%d" % self.random.randrange(3), b"nowhere/%d" % self.random.getrandbits(32), link=True)

    def mode(self, tree):
        path = self.any(tree)
        if path and not os.path.islink(os.path.join(tree, path)):
            os.chmod(os.path.join(tree, path), 0o755)
            tell("did", b"chmod +x " + path)

    def delete(self, tree):
        path = self.any(tree)
        if path:
            self.gone(tree, path)
            os.remove(os.path.join(tree, path))

    def delete_folder(self, tree):
        folder = self.random.choice([b"src/deep", b"docs", b"new"])
        if any(other.startswith(os.path.join(tree, folder)) for other in self.trees):
            return
        for path in list(files_of(os.path.join(tree, folder))):
            self.gone(tree, os.path.join(folder, path))
        shutil.rmtree(os.path.join(tree, folder), ignore_errors=True)

    def rename(self, tree):
        path = self.any(tree)
        if path and self.random.random() < 0.5:
            content, target = content_of(os.path.join(tree, path)), b"renamed%d" % self.random.randrange(3)
            self.gone(tree, path)
            self.gone(tree, target)
            if content is None or self.git(tree, "mv", "-f", "--", path, target) is None:
                if self.exists(tree, path, content):
                    self.again(tree, path, content)
            elif not os.path.islink(os.path.join(tree, target)):
                self.again(tree, target, content)
        elif path:
            self.replace(tree, path)

    def exists(self, tree, path, content):
        return content is not None and content_of(os.path.join(tree, path)) == content

    def again(self, tree, path, content):
        """The file was there before and is what it was; only what the agent wrote counts."""
        if content.startswith(b"seed "):
            self.written[(tree, path)] = object_of(content)
            print("wrote", object_of(content), json.dumps(tree.decode("latin-1")), json.dumps(path.decode("latin-1")), flush=True)

    def replace(self, tree, path):
        """A folder at the place of a file."""
        self.gone(tree, path)
        os.remove(os.path.join(tree, path))
        self.put(tree, path + b"/below")

    def large(self, tree):
        size = self.random.choice([1 << 20, 3 << 20, 9 << 19]) + self.random.randrange(1000)
        self.put(tree, b"large%d.bin" % self.random.randrange(4), self.fresh(size))

    def ignored(self, tree):
        for name in (b"ignored/", b""):
            path = os.path.join(tree, name, b"x.o")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(b"not work")
        tell("did", "write ignored files")

    def special(self, tree):
        path = os.path.join(tree, b"fifo")
        if not os.path.lexists(path):
            os.mkfifo(path)
            tell("did", "mkfifo")

    def nested(self, tree):
        folder = os.path.join(tree, b"nested")
        if not os.path.lexists(folder):
            os.makedirs(folder)
            self.git(folder, "init", "--quiet")
            self.put(tree, b"nested/inside")
            if self.random.random() < 0.5:
                self.git(folder, "add", "inside")
                self.git(folder, "commit", "--quiet", "-m", "Inside")

    def module(self, tree):
        path = os.path.join(tree, b"module")
        if os.path.isdir(path) and self.git(tree, "submodule", "--quiet", "update", "--init", "module") is not None:
            self.put(tree, b"module/n%d" % self.random.randrange(2))
            if self.random.random() < 0.5:
                self.git(path, "add", "--all")
                self.git(path, "commit", "--quiet", "-m", "In the module")

    # What git keeps.

    def sparse(self, tree):
        pattern = self.random.choice([["set", "--cone", "src"], ["set", "--cone", "docs"], ["set", "--no-cone", "/a"],
                                      ["set", "--cone", "--sparse-index", "src"], ["disable"], ["reapply"]])
        self.git(tree, "sparse-checkout", *pattern)

    def skip(self, tree):
        path = self.any(tree)
        if path and self.git(tree, "status", "--porcelain", "-z", "--", b":(literal)" + path) == b"":
            flag = self.random.choice(["--skip-worktree", "--assume-unchanged"])
            if self.git(tree, "update-index", flag, "--", path) is not None and (tree, path) not in self.written:
                os.remove(os.path.join(tree, path))
                tell("did", b"remove " + path)

    def stage(self, tree):
        self.git(tree, "add", self.random.choice(["--all", "--update", "--intent-to-add"]), ".")

    def commit(self, tree):
        self.git(tree, "add", "--all")
        self.git(tree, "commit", "--quiet", "--allow-empty-message", "-m", self.random.choice(["Commit", "checkout: moving from", ""]))

    def amend(self, tree):
        self.git(tree, "commit", "--quiet", "--amend", "--all", "-m", "Amended")

    def branch(self, tree):
        self.git(tree, "checkout", "--quiet", "-b", "branch%d" % self.random.randrange(5))

    def detach(self, tree):
        self.git(tree, "checkout", "--quiet", "--detach", "HEAD~%d" % self.random.randrange(1, 3))

    def back(self, tree):
        self.git(tree, "checkout", "--quiet", "-")

    def orphan(self, tree):
        self.git(tree, "checkout", "--quiet", "--orphan", "orphan%d" % self.random.randrange(3))

    def stash(self, tree):
        if self.random.random() < 0.7:
            self.git(tree, "stash", "push", "--quiet", "--include-untracked")
        else:
            self.git(tree, "stash", "apply", "--quiet")

    def tag(self, tree):
        self.git(tree, "tag", "tag%d" % self.random.randrange(3))

    def unfinished(self, tree):
        """A merge, cherry-pick or rebase that stops in the middle."""
        self.git(tree, "checkout", "--quiet", "-b", "other%d" % self.count)
        self.put(tree, b"conflict")
        self.git(tree, "add", "conflict")
        self.git(tree, "commit", "--quiet", "-m", "One side")
        if self.git(tree, "checkout", "--quiet", "-b", "more%d" % self.count, "HEAD~1") is None:
            return
        self.put(tree, b"conflict")
        self.git(tree, "add", "conflict")
        self.git(tree, "commit", "--quiet", "-m", "The other side")
        way = self.random.choice(["merge", "rebase", "cherry-pick"])
        # The file has marks of conflict from here on, as git wrote them.
        content = self.written.pop((tree, b"conflict"), None)
        self.git(tree, way, "other%d" % (self.count - 1))
        if content:
            self.written[(tree, b"conflict@side")] = content

    def pack(self, tree):
        self.git(tree, self.random.choice(["gc", "repack"]), "--quiet")

    def work_tree(self, tree):
        number = len(self.trees)
        place = self.random.choice([os.path.join(self.home, b".claude/worktrees/w%d" % number), os.path.join(self.scratch, b"w%d" % number),
                                    os.path.join(self.home, b"w%d" % number)])
        if number < 4 and self.git(tree, "worktree", "add", "--quiet", place, "-b", "linked%d" % number) is not None:
            self.trees.append(place)
            self.put(place, b"in the work tree")

    # Configuration.

    def configure(self, tree):
        everything = os.path.join(self.scratch, b"everything")
        with open(everything, "wb") as file:
            file.write(b"*\n")
        key, value = self.random.choice([("core.excludesFile", everything), ("core.sparseCheckout", "true"), ("core.autocrlf", "true"),
                                         ("core.fsmonitor", "false"), ("core.fileMode", "false"), ("core.symlinks", "false"),
                                         ("core.ignoreCase", "true"), ("core.untrackedCache", "true"), ("core.splitIndex", "true"),
                                         ("status.showUntrackedFiles", "no"), ("core.quotePath", "false"), ("core.bare", "true"),
                                         ("core.worktree", self.scratch), ("diff.ignoreSubmodules", "all"), ("feature.manyFiles", "true"),
                                         ("core.attributesFile", everything), ("index.version", "4")])
        where = self.random.choice([["--local"], ["--local"], ["--worktree"]])
        if where == ["--worktree"]:
            self.git(tree, "config", "extensions.worktreeConfig", "true")
        self.git(tree, "config", *where, key, value)

    def configure_user(self, tree):
        """Configuration that the agent's own git reads, and the next pod lacks."""
        everything = os.path.join(self.scratch, b"everything")
        with open(everything, "wb") as file:
            file.write(b"*\n")
        key, value = self.random.choice([("core.excludesFile", everything), ("core.attributesFile", everything), ("core.autocrlf", "true"),
                                         ("core.fsmonitor", "false"), ("status.showUntrackedFiles", "no"), ("core.hooksPath", self.scratch),
                                         ("init.defaultObjectFormat", "sha256"), ("safe.bareRepository", "explicit"), ("index.skipHash", "true")])
        self.git(tree, "config", "--global", key, value)

    def copy(self, tree):
        """A copy of the clone beside it, where the agent goes on. Without a repository it would be a folder like any other."""
        target = self.home + b".copy"
        if len(self.trees) == 1 and os.path.isdir(os.path.join(self.home, b".git")) and not os.path.lexists(target):
            shutil.copytree(self.home, target, symlinks=True, copy_function=self.copy_file)
            tell("did", "copy the clone")
            self.trees.append(target)
            self.change(target)

    @staticmethod
    def copy_file(source, target):
        if stat.S_ISREG(os.lstat(source).st_mode):
            shutil.copy2(source, target)

    def filter(self, tree):
        self.git(tree, "config", "filter.evil.clean", self.random.choice(["cat /dev/null", "false", "tr a-z A-Z"]))
        self.git(tree, "config", "filter.evil.smudge", "cat /dev/null")
        self.put(tree, b".gitattributes", b"n* filter=evil\n*.txt text eol=crlf working-tree-encoding=UTF-16\n# seed %d\n" % self.random.getrandbits(32))

    def exclude(self, tree):
        self.put(tree, b".gitignore", b"*\n# seed %d\n" % self.random.getrandbits(32))
        info = os.path.join(self.home, b".git/info")
        if os.path.isdir(info):
            with open(os.path.join(info, b"exclude"), "wb") as file:
                file.write(b"n*\n")

    def borrow(self, tree):
        """Objects that are in another repository."""
        other, objects = os.path.join(self.scratch, b"borrowed.git"), os.path.join(self.home, b".git/objects")
        if not os.path.lexists(other) and os.path.isdir(objects) and self.git(self.scratch, "init", "--quiet", "--bare", other) is not None:
            shutil.copytree(objects, os.path.join(other, b"objects"), dirs_exist_ok=True)
            os.makedirs(os.path.join(objects, b"info"), exist_ok=True)
            with open(os.path.join(objects, b"info/alternates"), "wb") as file:
                file.write(os.path.join(other, b"objects") + b"\n")
            tell("did", "borrow objects")

    # Repositories that are moved or broken.

    def damage(self, tree):
        git = os.path.join(self.home, b".git")
        if not os.path.isdir(git):
            return
        way = self.random.choice(["index", "index", "garbage", "lock", "head", "unborn", "ref", "object", "none", "moved"])
        tell("did", "damage " + way)
        if way in ("index", "garbage"):
            # The next `git add` makes an index without the empty folder.
            self.gone(tree, b"module")
        if way in ("head", "ref", "object", "none"):
            self.broken = True
            print("broke", flush=True)
        try:
            self.break_in(git, way)
        except OSError as error:
            tell("did", "fail: %s" % error)

    def break_in(self, git, way):
        if way == "index":
            os.remove(os.path.join(git, b"index"))
        elif way in ("garbage", "lock", "head", "unborn", "ref"):
            name, content = {"garbage": (b"index", b"garbage"), "lock": (b"index.lock", b""), "head": (b"HEAD", b"garbage\n"),
                             "unborn": (b"HEAD", b"ref: refs/heads/unborn\n"), "ref": (b"refs/heads/broken", b"garbage\n")}[way]
            with open(os.path.join(git, name), "wb") as file:
                file.write(content)
        elif way == "object":
            loose = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(git, b"objects")) for name in names if len(name) == 38]
            if loose:
                os.remove(self.random.choice(sorted(loose)))
        elif way == "none":
            shutil.rmtree(git)
        elif len(self.trees) == 1:
            other = os.path.join(self.scratch, b"away.git")
            os.rename(git, other)
            with open(git, "wb") as file:
                file.write(b"gitdir: " + other + b"\n")

    def move(self, tree):
        target = self.home + b".old"
        if len(self.trees) > 1 or os.path.lexists(target) or os.path.isdir(os.path.join(self.home, b"module/.git")):
            return
        os.rename(self.home, target)
        self.written = {(target, path): content for (_, path), content in self.written.items()}
        tell("moved", self.home, target)
        self.home, self.trees = target, [target]

    ACTS = {change: 6, add: 5, odd: 4, deep: 1, link: 1, mode: 1, delete: 3, delete_folder: 1, rename: 2, large: 1, ignored: 1, special: 1,
            nested: 1, module: 2, sparse: 3, skip: 2, stage: 1, commit: 4, amend: 1, branch: 2, detach: 2, back: 2, orphan: 1, stash: 2, tag: 1,
            unfinished: 1, pack: 1, work_tree: 3, configure: 2, configure_user: 1, copy: 1, filter: 1, exclude: 1, borrow: 1, damage: 2, move: 1}

    def remember(self, journal):
        for line in journal.splitlines():
            what, _, words = line.partition(b" ")
            if what in (b"dropped", b"committed"):
                self.written = {key: content for key, content in self.written.items() if content != words.decode()}
            elif what == b"wrote":
                content, _, words = words.partition(b" ")
                self.written[self.key(words)] = content.decode()
            elif what == b"gone":
                self.written.pop(self.key(words), None)
            elif what == b"moved":
                self.written = {(self.home, path): content for (_, path), content in self.written.items()}

    @staticmethod
    def key(words):
        decoder, text = json.JSONDecoder(), words.decode()
        tree, end = decoder.raw_decode(text)
        return tree.encode("latin-1"), json.loads(text[end:]).encode("latin-1")

    def work(self, pause):
        self.pause = pause
        acts, weights = list(self.ACTS), list(self.ACTS.values())
        for act in self.random.choices(acts, weights, k=self.random.randrange(3, 14)):
            tree = self.random.choice(self.trees)
            if not os.path.isdir(tree):
                continue
            try:
                act(self, tree)
            except OSError as error:
                tell("did", "fail at %s: %s" % (act.__name__, error))
            time.sleep(pause)

    def conclude(self):
        """Says where what was written is now: checkouts, stashes and merges have moved it, or thrown it away."""
        kept = None
        for (tree, path), content in sorted(self.written.items()):
            now = content_of(os.path.join(tree, path))
            if now is not None and object_of(now) == content:
                continue
            if kept is None:
                kept = self.kept()
            print("committed" if content in kept or self.broken else "dropped", content, flush=True)
        print("end", flush=True)

    def kept(self):
        """What refs, stashes and heads reach."""
        found = set()
        for tree in self.trees:
            listed = self.git(tree, "rev-list", "--objects", "--no-object-names", "--all", "HEAD") or b""
            stashes = self.git(tree, "rev-list", "--objects", "--no-object-names", "--walk-reflogs", "refs/stash") or b""
            found.update(line.decode() for line in (listed + b"\n" + stashes).split())
        return found


def look():
    git = Agent(0, ".").git
    here = os.getcwdb()
    everything = git(here, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)") or b""
    for line in everything.splitlines():
        kind, name = line.split()
        if kind == b"blob":
            print("has", name.decode())
    lacking = git(here, "ls-files", "-z", "--deleted") or b""
    for path in filter(None, lacking.split(b"\0")):
        tell("lacks", path)
    print("end", flush=True)


if sys.argv[1] == "look":
    look()
else:
    agent = Agent(int(sys.argv[2]), sys.argv[3])
    if len(sys.argv) > 5:
        with open(sys.argv[5], "rb") as file:
            agent.remember(file.read())
    end = os.environ.get("RANDOM_TREE_END", "0")
    # Asked to end, it still says where everything is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        agent.work(float((sys.argv[4:] or ["0"])[0]))
        tell("did", "all of it")
        # Time for a reader to find the log.
        time.sleep(1000 if end == "wait" else 40 * agent.pause)
    finally:
        agent.conclude()
    sys.exit(int(end))
