"""Libraries of the shipped modules for the engine native: put here when the package is built."""
