"""Widgets know domain types and messages, never engines, storage or hub."""
