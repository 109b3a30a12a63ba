"""A real API server on any machine: for the demo, the tests and users' own trials.

`Cluster.start()` gives a running kube-apiserver on loopback; `cluster.kubeconfig` is the way in.
"""

from pipebell.cluster.client import Refused
from pipebell.cluster.cluster import Cluster
from pipebell.cluster.errors import ClusterError, StuckNamespace
from pipebell.cluster.progress import Progress

__all__ = ["Cluster", "ClusterError", "Progress", "Refused", "StuckNamespace"]
