"""Run `engine` and let one of its steps fail: `python faulty_run.py STEP ACTION ARGUMENTS...`.

A step is a call that changes a file of the working directory: open, write, fsync, rename, remove,
make or lock. ACTION is what happens in place of step number STEP: `kill`, the number of an error of the
operating system, or `list`, which prints all steps at the end, files as their inode numbers.
"""

import io
import os
import signal
import sys
from functools import wraps
from pathlib import Path

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "fcntl.flock"}


class Steps:
    def __init__(self, chosen, action):
        self.folder = str(Path.cwd())
        self.chosen = chosen
        self.action = action
        self.done = []

    def take(self, *words):
        self.done.append(words)
        if len(self.done) != self.chosen:
            return
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(int(self.action), os.strerror(int(self.action)))

    def hear(self, event, arguments):
        """An audit hook: what it raises comes out of the call that is audited."""
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if event in EVENTS and (event == "fcntl.flock" or self.is_ours(arguments[0])):
            words = (
                [str(Path(arguments[0]).stat().st_ino), *arguments[1:2]]
                if "rename" in event
                else []
            )
            self.take(event, *words)

    def is_ours(self, path):
        if isinstance(path, int):
            return False
        text = os.fsdecode(path)
        return text.startswith(self.folder) or not text.startswith("/")

    def synced(self, function):
        def fsync(descriptor):
            self.take("fsync", str(os.fstat(descriptor).st_ino))
            function(descriptor)

        return fsync

    def before(self, function):
        @wraps(function)
        def stepped(*arguments, **named):
            self.take(function.__name__)
            return function(*arguments, **named)

        return stepped

    def opened(self, descriptor, mode, fdopen=os.fdopen):
        if mode != "wb":
            return fdopen(descriptor, mode)
        steps = self

        class Raw(io.FileIO):
            def write(self, content):
                steps.take("write")
                return super().write(content)

        return io.BufferedWriter(Raw(descriptor, mode))


def main():
    steps = Steps(int(sys.argv[1]), sys.argv[2])
    from engine.cli.main import main as engine
    from engine.outputs.writer import FrameWriter

    os.fsync = steps.synced(os.fsync)
    os.sendfile = steps.before(os.sendfile)
    os.fdopen = steps.opened
    FrameWriter.write = steps.before(FrameWriter.write)
    FrameWriter.finish = steps.before(FrameWriter.finish)
    sys.addaudithook(steps.hear)
    try:
        engine(sys.argv[3:])
    finally:
        if steps.action == "list":
            sys.stdout.writelines(" ".join(words) + "\n" for words in steps.done)


if __name__ == "__main__":
    main()
