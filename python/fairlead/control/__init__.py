"""The control plane: the database, the drain of the journal into it, and the ASGI applications behind Granian.

Nothing here imports the native module. The engine and the journal come as the protocols of `fairlead.control.engine`, so the whole
control plane runs in tests, and in commands without a server, with real SQLite and no data plane.
"""
