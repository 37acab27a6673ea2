"""Stores: one small file a backend, on the contract of ``base``; ``resolve`` picks one."""
