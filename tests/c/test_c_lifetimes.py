"""The table holds an object exactly as long as its ref lives."""

from __future__ import annotations

import gc
import weakref

import pytest
from c_support import Instance, library_module

pytestmark = pytest.mark.once


class Thing:
    """An object that weakref can watch."""


def collect(instance: Instance) -> None:
    """Makes the engine drop what no table or stack holds any more, and Python what the engine dropped."""
    instance.store.gc()
    gc.collect()


@pytest.mark.parametrize("release", ["hiwire_decref", "hiwire_pop"])
@pytest.mark.parametrize("more", [(), ("-DRETIRE_SLOTS",)], ids=["wrap", "retire"])
def test_objects_die_with_their_last_count(release: str, more: tuple[str, ...]) -> None:
    """Held while the count is above 0, gone after; also in the last life of a slot that is retired."""
    instance = Instance(library_module("-DSTATIC_PAGES=1", *more))
    for life in range(66):
        thing = Thing()
        watch = weakref.ref(thing)
        ref = instance.ref("hiwire_new", thing)
        instance.call("hiwire_incref", ref)
        del thing
        instance.call(release, ref)
        if life > 60:
            collect(instance)
            assert watch() is not None
        instance.call(release, ref)
        if life > 60:
            collect(instance)
            assert watch() is None
    assert instance.call("hiwire_num_retired") == (1 if more else 0)


def test_immortals_die_with_the_instance() -> None:
    """An interned object outlives all decrefs, and not its instance."""
    instance = Instance(library_module("-DSTATIC_PAGES=1"))
    thing = Thing()
    watch = weakref.ref(thing)
    ref = instance.ref("hiwire_intern", thing)
    del thing
    for _ in range(3):
        instance.call("hiwire_decref", ref)
    collect(instance)
    assert watch() is not None
    del instance
    gc.collect()
    assert watch() is None
