"""The engine wasmtime."""
