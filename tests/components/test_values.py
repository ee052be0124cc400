"""Values of every type that has no handles, from Python into a component, from there into another one, and
back: compared with what was given, and with what wasmtime's own implementation gives."""

from __future__ import annotations

import os
from typing import Any

import pytest
from component_guests import (
    ENCODINGS,
    MEMORY,
    Echoes,
    Reference,
    ReferenceComponent,
    echoes,
    from_reference,
    options,
    result_of,
    to_reference,
    use_adapters,
)
from component_types import TYPES, from_python, same, to_python, values
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from support import wat

from hiwire_py.components import Component, ComponentInstance, Err, Ok
from hiwire_py.components.types import Result, ValueType
from hiwire_py.errors import ComponentError

FACTOR = int(os.environ.get("HIWIRE_COMPONENT_ROUNDS", "1"))
"""How many times as many examples as in a usual run."""
EXAMPLES = {"wasmtime": 60, "wasmer": 20, "native": 3}
PARAMS = st.lists(TYPES, min_size=1, max_size=3) | st.lists(TYPES, min_size=9, max_size=17)


def check(
    made: Echoes,
    instance: ComponentInstance,
    reference: Reference | None,
    number: int,
    params: list[ValueType],
    given: tuple[Any, ...],
) -> None:
    """One call of a function of `echoes`."""
    named, result = instance["b"], result_of(params)
    classes = {one: named[name] for one, name in made.names.items()}
    try:
        got = named[f"f{number}"](*(to_python(one, value, classes) for one, value in zip(params, given)))
        if isinstance(result, Result):
            got = Ok(got)
    except ComponentError as error:
        got = Err(error.payload)
    wanted = given[0] if len(params) == 1 else given
    found = from_python(result, got)
    assert same(found, wanted), (found, wanted)
    if reference is not None:
        other = reference.function("b", f"f{number}")(*map(to_reference, params, given))
        assert same(found, from_reference(result, other)), (found, other)


@pytest.mark.parametrize("name", ["wasmtime", "wasmer", "native"])
def test_values_come_back(name: str) -> None:
    """Random values of random types are the same after four crossings, and the reference agrees."""
    engine = use_adapters(name)

    @settings(
        max_examples=EXAMPLES[engine] * FACTOR,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(PARAMS, min_size=1, max_size=4),
        st.sampled_from(ENCODINGS),
        st.sampled_from(ENCODINGS),
        st.data(),
    )
    def come_back(functions: list[list[ValueType]], encoding: str, other: str, data: st.DataObject) -> None:
        made = echoes(functions, encoding, other)
        note(made.text)
        wasm = wat(made.text)
        reference = ReferenceComponent(wasm).instantiate() if engine == "wasmtime" else None
        with Component(wasm).instantiate(engine=engine) as instance:
            for number, params in enumerate(functions):
                given_ = data.draw(st.tuples(*map(values, params)))
                check(made, instance, reference, number, params, given_)

    come_back()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_strings(encoding: str, engine: str) -> None:
    """A str with surrogates is refused, before the guest is called, and so is a char that is one."""
    text = f"""
    (component {MEMORY}
      (core module $m (import "libc" "memory" (memory 1))
        (func (export "text") (param i32 i32) (result i32) (local.get 1))
        (func (export "char") (param i32) (result i32) (local.get 0)))
      (core instance $m (instantiate $m (with "libc" (instance $libc))))
      (func (export "text") (param "x" string) (result u32)
        (canon lift (core func $m "text") {options(encoding)}))
      (func (export "char") (param "x" char) (result u32) (canon lift (core func $m "char"))))
    """
    with Component(wat(text)).instantiate(engine=engine) as instance:
        for wrong in ("\ud800", "a\udfff", "\ud83d\ude00"):
            with pytest.raises(ValueError, match="surrogates"):
                instance["text"](wrong)
        for wrong in ("\ud800", "", "ab"):
            with pytest.raises(TypeError, match="char"):
                instance["char"](wrong)
        assert instance["char"]("\U0010ffff") == 0x10FFFF
        units = instance["text"]("a\U0001f600\uffff")
        assert units & 0x7FFFFFFF == {"utf8": 8, "utf16": 4, "latin1+utf16": 4}[encoding]
        assert units >> 31 == (encoding == "latin1+utf16")
