"""Externref lowering: every externref becomes an i32 id."""
