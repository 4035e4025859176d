"""Frozen data and pure functions; nothing here touches a disk, a process or a clock."""
