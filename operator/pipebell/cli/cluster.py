"""`pipebell cluster`: a real API server on this machine, to try things on.

stdout carries the line for the shell alone, as in `eval "$(pipebell cluster up)"`; everything else goes to stderr.
"""

from __future__ import annotations

import shlex
from typing import Final

import click

from pipebell.cluster import Cluster, ClusterError, Progress, programs, tools

_NAME: Final = click.option(
    "--name", default="default", show_default=True, help="Which cluster; several run side by side."
)


@click.group()
def cluster() -> None:
    """A real API server with its store on loopback, and nothing else: no nodes, no controllers.

    Pods never run and a namespace that is deleted stays Terminating; everything else of the API is the real thing.
    """


@cluster.command()
def build() -> None:
    """Build or find the programs that `up` needs, kubectl included, and start nothing."""
    click.echo(programs.find(Progress()).api_server, err=True)
    click.echo(tools.kubectl(), err=True)


@cluster.command()
@_NAME
@click.option("--audit", is_flag=True, help="Log who asks for what of Pipebell's resources (in a new cluster).")
def up(name: str, audit: bool) -> None:
    """Start it, or start it again; prints the line that makes kubectl use it."""
    click.echo(f"starting the cluster {name!r} …", err=True)
    started = Cluster.start(name, audit_log=audit)
    click.echo(f"{started.url} is ready; `pipebell cluster down{_option(name)}` removes it", err=True)
    click.echo(_export(started))


@cluster.command()
@_NAME
def env(name: str) -> None:
    """Print the line that makes kubectl use it."""
    found = Cluster.find(name)
    if found is None:
        raise ClusterError(f"there is no cluster {name!r}: start one with `pipebell cluster up{_option(name)}`")
    if not found.running:
        raise ClusterError(f"the cluster {name!r} does not run: `pipebell cluster up{_option(name)}` starts it again")
    click.echo(_export(found))


@cluster.command()
@_NAME
@click.option("--all", "everything", is_flag=True, help="All that have a name.")
def down(name: str, everything: bool) -> None:
    """End it and remove all its files."""
    names = Cluster.names() if everything else [name]
    for each in names:
        removed = Cluster.remove(each)
        click.echo(f"the cluster {each!r} is gone" if removed else f"there is no cluster {each!r}", err=True)


def _export(running: Cluster) -> str:
    return f"export KUBECONFIG={shlex.quote(str(running.kubeconfig))}"


def _option(name: str) -> str:
    return "" if name == "default" else f" --name {name}"
