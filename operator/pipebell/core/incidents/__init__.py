"""Incidents: what is wrong with a pipeline from its first failure to its recovery, whatever number of events say so."""
