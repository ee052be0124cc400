"""A component in Python, for componentize-py: the world `program` of texts.wit."""

import wit_world
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import texts
from wit_world.imports import log


class Texts(exports.Texts):
    def counted(self, text: str) -> list[texts.Count]:
        if not text:
            raise Err(texts.Failure_Empty())
        if len(text) > 1000:
            raise Err(texts.Failure_TooLong(len(text)))
        words = text.split()
        return [texts.Count(word, words.count(word)) for word in dict.fromkeys(words)]

    def bytes_of(self, number: int) -> bytes:
        return number.to_bytes(8, "big")


class WitWorld(wit_world.WitWorld):
    def greet(self, name: str) -> str:
        written = log.write(log.Level.WARNING, f"greeting {name}")
        return f"Hello, {name}! ({written})"

    def fail(self) -> None:
        raise AssertionError("this program fails")
