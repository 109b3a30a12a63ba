"""What people get to read, from hostile text. Pure and deterministic.

`text` makes text harmless, `facts` says what there is to tell, `email` and `mrkdwn` say it; a kind of destination
(`pipebell.core.destinations`) puts its own message together from these.
"""
