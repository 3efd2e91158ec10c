"""Tests of the whole: the gateway as a process, the simulator as its provider, real clients, real sockets. Nothing leaves this machine."""
