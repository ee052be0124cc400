"""A component in Python: the whole of CPython, for which WASI is the system."""

import os
import socket
import sys
import time

import wit_world  # type: ignore[import-not-found] # made of app.wit


class WitWorld(wit_world.WitWorld):  # type: ignore[misc]
    """What the component exports."""

    def greet(self, name: str) -> str:
        """Say something to all streams."""
        print("printed", name)
        print("to stderr", file=sys.stderr)
        return f"hello {name}, {sys.stdin.read()}"

    def system(self) -> tuple[list[str], int, bytes]:
        """What comes from outside."""
        return [f"{key}={value}" for key, value in os.environ.items()], int(time.time()), os.urandom(4)

    def make(self, directory: str) -> list[str]:
        """Make a file, and say what is there."""
        with open(f"{directory}/made", "w") as file:
            file.write("by Python")
        os.rename(f"{directory}/made", f"{directory}/moved")
        return sorted(os.listdir(directory))

    def reach_out(self) -> str:
        """Try to get out."""
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", 80))
        except OSError as error:
            return type(error).__name__
        return "connected"

    def leave(self, status: int) -> None:
        """Exit, at once."""
        os._exit(status)
