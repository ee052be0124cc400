"""The resources of the interface `texts`, which componentize-py looks for in a module of its name."""

from wit_world.exports import texts


class Tally(texts.Tally):
    def __init__(self, start: int) -> None:
        self.sum = start

    def add(self, number: int) -> int:
        self.sum += number
        return self.sum

    @classmethod
    def largest(cls, tallies: list) -> int | None:
        return max((tally.sum for tally in tallies), default=None)
