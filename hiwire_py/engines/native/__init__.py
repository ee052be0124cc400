"""The engine native: modules that wasm2c turns into C."""
