"""Kubeconfigs by the standard library: where the cluster is, who we are there, and what cannot be honoured."""
