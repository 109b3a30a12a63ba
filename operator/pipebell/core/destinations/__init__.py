"""Where messages can go: one pure file for each kind of destination; `pipebell.core.models` registers them.

    base   what a kind is: spec, target, hosts, capabilities, example
    block  one destination's settings after the merge of an organisation's layer over root's
    http   what a kind is that posts: request, answers, receipt
    email, slack, …  the kinds

A kind's file says everything there is to say about it. Nothing else in the code knows a kind by name, except the
providers of kinds that need more than a POST.
"""
