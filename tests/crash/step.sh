#!/bin/bash
# Proves: a process that publishes, reads, connects, opens or closes may die at any of its
# instructions: what it had committed is read, once and whole, nobody waits for it, busd lets go of
# all it had. The short form of `make step`.
# timeout: 120
exec "$BUS_BUILD/tests/step/step" --short
