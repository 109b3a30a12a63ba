"""Whether a destination would take a message, tried without sending one: for `pipebell verify` and the operator.

What is tried and what its answers mean is here, once. How one gets there is not the same for both: the operator goes by
its own look-ups, lists of hosts and proxy, and gives up in time.
"""
